//! A result of the graph as the file sees it: with any axes, in any order, while the graph has images and vectors.
//!
//! A file may see an image with an axis less, with two axes for its channels, or with its channels last. None of that moves a
//! number, so none of it is a node; only what reads a result says in which shape it needs it (`settle.rs`).

use super::constant::Size;
use crate::shape::Shape;

/// A node of the graph and the axes under which its numbers are seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) node: usize,
    pub(super) axes: Vec<Axis>,
}

/// An axis of a view.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) size: Size,
    /// How far apart neighbours are among the numbers of one image; 0 along the images.
    stride: usize,
}

/// The axes of `[N, C, H, W]` or `[N, C]` in C order.
fn plain(shape: Shape) -> Vec<Axis> {
    match shape {
        Shape::Image(sides) => in_order(&sides),
        Shape::Flat(channels) => in_order(&[channels]),
    }
}

/// The axes of images of these sides in C order.
fn in_order(sides: &[usize]) -> Vec<Axis> {
    let mut axes = Vec::with_capacity(sides.len() + 1);
    let mut stride = 1;
    for &side in sides.iter().rev() {
        axes.push(Axis { size: Size::Known(side as i64), stride });
        stride *= side;
    }
    axes.push(Axis { size: Size::Batch, stride: 0 });
    axes.reverse();
    axes
}

impl Axis {
    /// Its length; none along the images.
    pub(super) fn known(self) -> Option<usize> {
        match self.size {
            Size::Known(side) => usize::try_from(side).ok(),
            Size::Batch => None,
        }
    }

    /// Whether both go over the same numbers.
    fn is_like(self, other: Self) -> bool {
        self.size == other.size && (self.stride == other.stride || self.size == Size::Known(1))
    }
}

impl View {
    /// A node as it is, `[N, C, H, W]` or `[N, C]`.
    pub(super) fn of(node: usize, shape: Shape) -> Self {
        Self { node, axes: plain(shape) }
    }

    /// The shape that the file sees.
    pub(super) fn dims(&self) -> Vec<Size> {
        self.axes.iter().map(|axis| axis.size).collect()
    }

    /// The sides behind the axis of the images, if that is the first.
    pub(super) fn sides(&self) -> Option<Vec<usize>> {
        let (first, rest) = self.axes.split_first()?;
        if first.size != Size::Batch {
            return None;
        }
        rest.iter().map(|axis| axis.known()).collect()
    }

    /// Which axis of its node, `[N, C, H, W]` or `[N, C]`, each axis is; none if they are not the same axes.
    pub(super) fn order(&self, shape: Shape) -> Option<Vec<usize>> {
        let own = plain(shape);
        if own.len() != self.axes.len() {
            return None;
        }
        let mut order = vec![None; own.len()];
        let mut is_free = vec![true; own.len()];
        // Axes of length one may be any: they go where their neighbours lie, or keep their places, or get what others leave.
        for rule in 0..4 {
            for (place, axis) in self.axes.iter().enumerate() {
                if order[place].is_some() {
                    continue;
                }
                let fits = |&at: &usize| {
                    let (is_near, is_own) = (own[at].stride == axis.stride, at == place);
                    let is_chosen = match rule {
                        0 => axis.size != Size::Known(1),
                        1 => is_near && is_own,
                        2 => is_near,
                        _ => is_own || !is_free[place],
                    };
                    is_free[at] && own[at].is_like(*axis) && is_chosen
                };
                if let Some(at) = (0..own.len()).find(fits) {
                    (order[place], is_free[at]) = (Some(at), false);
                }
            }
        }
        order.into_iter().collect()
    }

    /// Whether it is its node as that is.
    pub(super) fn is_plain(&self, shape: Shape) -> bool {
        let own = plain(shape);
        own.len() == self.axes.len() && own.iter().zip(&self.axes).all(|(own, axis)| axis.is_like(*own))
    }

    /// Whether the numbers of each image come in their own order.
    pub(super) fn is_in_order(&self) -> bool {
        let Some(sides) = self.sides() else { return false };
        let whole = Size::Known(sides.iter().product::<usize>() as i64);
        self.reshaped(&[Size::Batch, whole])
            .is_some_and(|view| view.axes[1].is_like(Axis { size: whole, stride: 1 }))
    }

    /// Whether these are the axes of another view, over a node of the same shape.
    pub(super) fn has_axes_of(&self, other: &Self) -> bool {
        let all = self.axes.iter().zip(&other.axes).all(|(axis, other)| axis.is_like(*other));
        all && self.axes.len() == other.axes.len()
    }

    /// Whether its axes are those of its node in this order, as [`View::order`] gives it.
    pub(super) fn is_ordered_as(&self, order: &[usize], shape: Shape) -> bool {
        let own = plain(shape);
        let fits = |(axis, &at): (&Axis, &usize)| own.get(at).is_some_and(|own| axis.is_like(*own));
        order.len() == self.axes.len() && own.len() == order.len() && self.axes.iter().zip(order).all(fits)
    }

    /// The place of the axis along the channels of its node; none if there is no such axis, or only one channel.
    pub(super) fn channel_axis(&self, shape: Shape) -> Option<usize> {
        let channels = plain(shape)[1];
        let is_channels = |axis: &Axis| axis.size == channels.size && axis.stride == channels.stride;
        self.axes.iter().position(is_channels).filter(|_| channels.size != Size::Known(1))
    }

    /// The same numbers with their axes in another order.
    pub(super) fn transposed(&self, order: &[usize]) -> Self {
        Self { node: self.node, axes: order.iter().map(|&axis| self.axes[axis]).collect() }
    }

    /// The numbers in their own order under other axes; none if that would not be so many numbers.
    pub(super) fn reshaped(&self, dims: &[Size]) -> Option<Self> {
        let is_batch = |size: &Size| *size == Size::Batch;
        let old = self.axes.iter().position(|axis| is_batch(&axis.size))?;
        let new = dims.iter().position(is_batch)?;
        let mut axes = split(&self.axes[..old], &dims[..new])?;
        axes.push(Axis { size: Size::Batch, stride: 0 });
        axes.extend(split(&self.axes[old + 1..], &dims[new + 1..])?);
        Some(Self { node: self.node, axes })
    }

    /// The same axes over another node, of which each image is as large along all axes but those given.
    pub(super) fn over(&self, node: usize, old: Shape, new: Shape) -> Option<Self> {
        let (order, plain) = (self.order(old)?, plain(new));
        (plain.len() == order.len())
            .then(|| Self { node, axes: order.into_iter().map(|at| plain[at]).collect() })
    }

    /// The same axes over another node, of which some are shorter; other than [`View::over`] without those that are left out.
    pub(super) fn shrunk(&self, node: usize, old: Shape, new: Shape) -> Option<Self> {
        let (old, new) = (plain(old), plain(new));
        let shrunk = |axis: &Axis| match axis.size {
            Size::Known(1) => Some(*axis),
            _ => new.get(old.iter().position(|old| axis.is_like(*old))?).copied(),
        };
        Some(Self { node, axes: self.axes.iter().map(shrunk).collect::<Option<_>>()? })
    }

    /// Which axis of its node, `[N, C, H, W]` or `[N, C]`, an axis is; none if it is no such axis, or one of length one.
    pub(super) fn origin(&self, axis: usize, shape: Shape) -> Option<usize> {
        let axis = self.axes[axis];
        plain(shape).iter().position(|own| axis.is_like(*own)).filter(|_| axis.size != Size::Known(1))
    }

    /// The numbers of one image in the order in which the view has them, as whole planes of `plane` numbers; none if it is not
    /// made of such.
    pub(super) fn planes(&self, plane: usize) -> Option<Vec<usize>> {
        let sides = self.sides()?;
        let axes: Vec<(usize, usize)> =
            sides.into_iter().zip(&self.axes[1..]).map(|(side, axis)| (side, axis.stride)).collect();
        let axes: Vec<(usize, usize)> = axes.into_iter().filter(|&(side, _)| side != 1).collect();
        // The last axes go over one plane.
        let (mut inside, mut first) = (1, axes.len());
        while inside < plane {
            first = first.checked_sub(1)?;
            let (side, stride) = axes[first];
            if stride != inside {
                return None;
            }
            inside *= side;
        }
        if inside != plane || axes[..first].iter().any(|&(_, stride)| stride % plane != 0) {
            return None;
        }
        let mut places = vec![0];
        for &(side, stride) in &axes[..first] {
            let along = |&place: &usize| (0..side).map(move |step| place + step * stride / plane);
            places = places.iter().flat_map(along).collect();
        }
        Some(places)
    }
}

/// Axes that see the numbers of others in their order, split and joined into these sizes; none if numbers would move.
fn split(axes: &[Axis], dims: &[Size]) -> Option<Vec<Axis>> {
    // Runs of axes that lie behind each other are one axis.
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for axis in axes.iter().filter(|axis| axis.size != Size::Known(1)) {
        let side = axis.known()?;
        match runs.last_mut() {
            Some((length, stride)) if *stride == axis.stride * side => {
                (*length, *stride) = (*length * side, axis.stride);
            }
            _ => runs.push((side, axis.stride)),
        }
    }
    let mut split = Vec::with_capacity(dims.len());
    for size in dims.iter().rev() {
        let &Size::Known(side) = size else { return None };
        let side = usize::try_from(side).ok()?;
        if side == 1 {
            split.push(Axis { size: *size, stride: 0 });
            continue;
        }
        let (length, stride) = runs.last_mut()?;
        if side == 0 || *length % side != 0 {
            return None;
        }
        split.push(Axis { size: *size, stride: *stride });
        (*length, *stride) = (*length / side, *stride * side);
        if *length == 1 {
            runs.pop();
        }
    }
    split.reverse();
    runs.is_empty().then_some(split)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(sides: &[i64]) -> Vec<Size> {
        std::iter::once(Size::Batch).chain(sides.iter().map(|&side| Size::Known(side))).collect()
    }

    #[test]
    fn axes_of_one_and_split_axes_are_views() {
        let shape = Shape::Image([8, 1, 1]);
        let view = View::of(3, shape);
        let less = view.reshaped(&known(&[8, 1])).unwrap();
        assert_eq!((less.dims(), less.sides()), (known(&[8, 1]), Some(vec![8, 1])));
        assert!(less.reshaped(&known(&[8, 1, 1])).unwrap().is_plain(shape));
        assert!(less.reshaped(&known(&[7])).is_none() && less.reshaped(&known(&[2, 2])).is_none());
        assert_eq!(less.reshaped(&known(&[2, 4])).unwrap().planes(1), Some((0..8).collect()));
    }

    #[test]
    fn a_shuffle_is_planes_in_another_order() {
        let shape = Shape::Image([6, 2, 3]);
        let groups = View::of(0, shape).reshaped(&known(&[2, 3, 2, 3])).unwrap();
        let turned = groups.transposed(&[0, 2, 1, 3, 4]);
        assert_eq!(turned.planes(6), Some(vec![0, 3, 1, 4, 2, 5]));
        assert!(turned.reshaped(&known(&[6, 2, 3])).is_none());
        let last = View::of(0, shape).transposed(&[0, 2, 3, 1]);
        assert_eq!((last.planes(6), last.channel_axis(shape)), (None, Some(3)));
        assert_eq!(last.order(shape), Some(vec![0, 2, 3, 1]));
        assert!(last.transposed(&[0, 3, 1, 2]).is_plain(shape));
        assert!(last.reshaped(&known(&[36])).is_none());
        assert_eq!(last.reshaped(&known(&[6, 6])).unwrap().dims(), known(&[6, 6]));
    }
}
