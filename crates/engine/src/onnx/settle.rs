//! Results in the shape in which something reads them: what a view leaves open becomes nodes here.

use super::OnnxError;
use super::call::Call;
use super::constant::Size;
use super::scope::{Padded, Scope, Value};
use super::view::View;
use crate::graph::Op;
use crate::shape::Shape;

impl<'a> Scope<'a> {
    /// A view that somebody asked for: vectors and images that are none yet become such.
    pub(super) fn settled(&mut self, name: &str, view: View) -> Result<Value<'a>, OnnxError> {
        let Some(sides) = view.sides() else { return Ok(Value::View(view)) };
        let shape = self.shape(view.node);
        if view.is_plain(shape) || !view.is_in_order() {
            return Ok(Value::View(view));
        }
        let before = self.before_flatten(view.node);
        let node = match sides[..] {
            [channels, height, width] => {
                let sides = [channels, height, width];
                match self.shape(before) == Shape::Image(sides) {
                    true => before,
                    false => self.push(name, Op::Reshape { shape: sides }, vec![before])?,
                }
            }
            [_] if matches!(shape, Shape::Image(_)) => self.push(name, Op::Flatten, vec![view.node])?,
            _ => return Ok(Value::View(view)),
        };
        Ok(Value::View(View::of(node, self.shape(node))))
    }

    /// A view under other axes. Channels that the old ones had in another order are put into it.
    pub(super) fn seen_as(
        &mut self,
        call: &Call<'a>,
        view: &View,
        dims: &[Size],
    ) -> Result<Value<'a>, OnnxError> {
        let seen = match view.reshaped(dims) {
            Some(seen) => seen,
            None => {
                let ordered = self.ordered(call, view)?;
                let seen = ordered.reshaped(dims);
                seen.ok_or_else(|| {
                    call.error(format!("{} cannot become {}", text(&view.dims()), text(dims)))
                })?
            }
        };
        self.settled(call.name(), seen)
    }

    /// The numbers of a view in the order in which it has them.
    fn ordered(&mut self, call: &Call<'a>, view: &View) -> Result<View, OnnxError> {
        if view.is_in_order() {
            return Ok(view.clone());
        }
        let shape = self.shape(view.node);
        let plane = shape.count() / shape.channels().max(1);
        let Some(order) = view.planes(plane) else {
            return Err(call.error(format!(
                "reads {} with axes that were moved (channels last?), which is supported only where a Transpose moves them \
                 back; export the model with channels first",
                text(&view.dims())
            )));
        };
        let Some(sides) = view.sides() else {
            return Err(call.error("the first axis must stay that of the images"));
        };
        let node =
            self.push(&format!("{}/channels", call.name()), Op::Channels { order }, vec![view.node])?;
        let dims: Vec<Size> = sides.into_iter().map(|side| Size::Known(side as i64)).collect();
        let dims: Vec<Size> = std::iter::once(Size::Batch).chain(dims).collect();
        let plain = View::of(node, self.shape(node));
        plain.reshaped(&dims).ok_or_else(|| call.error("its shape does not fit its numbers"))
    }

    /// The node of an image, `[N, C, H, W]`.
    pub(super) fn image(&mut self, call: &Call<'a>, view: &View) -> Result<usize, OnnxError> {
        let shape = self.shape(view.node);
        let is_image = matches!(shape, Shape::Image(_));
        if is_image && view.is_plain(shape) {
            return Ok(view.node);
        }
        let wrong = || call.error(format!("reads {}, expected images [N, C, H, W]", text(&view.dims())));
        if view.axes.len() != 4 {
            return Err(wrong());
        }
        let ordered = self.ordered(call, view)?;
        match self.settled(call.name(), ordered)? {
            Value::View(view) if view.is_plain(self.shape(view.node)) => Ok(view.node),
            _ => Err(wrong()),
        }
    }

    /// The node of vectors, `[N, C]`.
    pub(super) fn vector(&mut self, call: &Call<'a>, view: &View) -> Result<usize, OnnxError> {
        let wrong = || {
            call.error(format!(
                "reads {}, expected vectors [N, C]; flatten the image first",
                text(&view.dims())
            ))
        };
        if view.axes.len() != 2 {
            return Err(wrong());
        }
        let shape = self.shape(view.node);
        if matches!(shape, Shape::Flat(_)) && view.is_plain(shape) {
            return Ok(view.node);
        }
        let ordered = self.ordered(call, view)?;
        match self.settled(call.name(), ordered)? {
            Value::View(view) if view.is_plain(self.shape(view.node)) => Ok(view.node),
            _ => Err(wrong()),
        }
    }

    /// An input that is an image, `[N, C, H, W]`, perhaps with lines around it: its node, the lines and what is in them.
    pub(super) fn padded(
        &mut self,
        call: &Call<'a>,
        index: usize,
    ) -> Result<(usize, [usize; 4], f32), OnnxError> {
        match self.input(call, index)? {
            Value::Padded(Padded { view, lines, number }) => Ok((self.image(call, &view)?, lines, number)),
            _ => {
                let view = self.view(call, index)?;
                Ok((self.image(call, &view)?, [0; 4], 0.0))
            }
        }
    }

    /// A result of which only the numbers count, in their order.
    pub(super) fn output(&mut self, call: &Call<'a>, view: &View) -> Result<usize, OnnxError> {
        let shape = self.shape(view.node);
        if view.is_plain(shape) {
            return Ok(view.node);
        }
        let ordered = self.ordered(call, view)?;
        let count = Size::Known(self.shape(ordered.node).count() as i64);
        match self.seen_as(call, &ordered, &[Size::Batch, count])? {
            Value::View(view) => Ok(view.node),
            _ => Err(call.error("its shape does not fit its numbers")),
        }
    }

    /// The image that a vector was before it was flattened, or the node itself.
    fn before_flatten(&self, node: usize) -> usize {
        match (&self.nodes[node].op, &self.nodes[node].inputs[..]) {
            (Op::Flatten, &[before]) => before,
            _ => node,
        }
    }
}

/// A shape for a message: `[N, 8, 1, 1]`.
pub(super) fn text(dims: &[Size]) -> String {
    let size = |size: &Size| match size {
        Size::Batch => "N".to_owned(),
        Size::Known(side) => side.to_string(),
    };
    format!("[{}]", dims.iter().map(size).collect::<Vec<_>>().join(", "))
}
