//! Constants while a file is read: numbers of any rank, some of which may be the number of images.

use super::element::Element;

/// Most integers in a list that shapes are computed with.
const MOST_SIZES: usize = 64;

/// Numbers in C order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constant {
    pub(super) shape: Vec<usize>,
    pub(super) element: Element,
    pub(super) numbers: Numbers,
}

/// The numbers of a constant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Numbers {
    /// Real numbers that `f32` holds.
    Single(Vec<f32>),
    Double(Vec<f64>),
    /// Integers, and truth as 0 and 1.
    Whole(Vec<i64>),
    /// Integers of which some are the number of images.
    Sizes(Vec<Size>),
}

/// An integer that a shape is computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// The number of images.
    Batch,
    Known(i64),
}

/// One number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Real(f64),
    Whole(i64),
    Batch,
}

impl Constant {
    /// Real numbers of `f32`.
    pub(super) fn reals(shape: Vec<usize>, values: Vec<f32>) -> Self {
        Self { shape, element: Element::F32, numbers: Numbers::Single(values) }
    }

    /// A list of integers, or one integer that is no list.
    pub(super) fn sizes(sizes: Vec<Size>, is_scalar: bool) -> Self {
        let shape = if is_scalar { vec![] } else { vec![sizes.len()] };
        let numbers = sizes.into_iter().map(|size| match size {
            Size::Batch => Number::Batch,
            Size::Known(number) => Number::Whole(number),
        });
        Self { shape, element: Element::I64, numbers: Numbers::collect(Element::I64, numbers) }
    }

    pub(super) fn len(&self) -> usize {
        match &self.numbers {
            Numbers::Single(numbers) => numbers.len(),
            Numbers::Double(numbers) => numbers.len(),
            Numbers::Whole(numbers) => numbers.len(),
            Numbers::Sizes(numbers) => numbers.len(),
        }
    }

    pub(super) fn get(&self, place: usize) -> Option<Number> {
        match &self.numbers {
            Numbers::Single(numbers) => numbers.get(place).map(|&number| Number::Real(number.into())),
            Numbers::Double(numbers) => numbers.get(place).map(|&number| Number::Real(number)),
            Numbers::Whole(numbers) => numbers.get(place).map(|&number| Number::Whole(number)),
            Numbers::Sizes(numbers) => numbers.get(place).map(|&size| match size {
                Size::Batch => Number::Batch,
                Size::Known(number) => Number::Whole(number),
            }),
        }
    }

    /// The numbers as `f32`, if they are real.
    pub(super) fn into_reals(self) -> Option<Vec<f32>> {
        match self.numbers {
            Numbers::Single(numbers) => Some(numbers),
            Numbers::Double(numbers) => Some(numbers.into_iter().map(|number| number as f32).collect()),
            Numbers::Whole(_) | Numbers::Sizes(_) => None,
        }
    }

    /// The numbers as integers of a shape, if they are a short list of such or one.
    pub(super) fn as_sizes(&self) -> Option<Vec<Size>> {
        if self.shape.len() > 1 || self.len() > MOST_SIZES {
            return None;
        }
        match &self.numbers {
            Numbers::Whole(numbers) => Some(numbers.iter().map(|&number| Size::Known(number)).collect()),
            Numbers::Sizes(sizes) => Some(sizes.clone()),
            Numbers::Single(_) | Numbers::Double(_) => None,
        }
    }

    /// The numbers at these places in another shape of as many.
    pub(super) fn at(&self, shape: Vec<usize>, places: impl Iterator<Item = usize>) -> Self {
        fn pick<T: Copy>(numbers: &[T], places: impl Iterator<Item = usize>) -> Vec<T> {
            places.filter_map(|place| numbers.get(place).copied()).collect()
        }
        let numbers = match &self.numbers {
            Numbers::Single(numbers) => Numbers::Single(pick(numbers, places)),
            Numbers::Double(numbers) => Numbers::Double(pick(numbers, places)),
            Numbers::Whole(numbers) => Numbers::Whole(pick(numbers, places)),
            Numbers::Sizes(sizes) => Numbers::Sizes(pick(sizes, places)),
        };
        Self { shape, element: self.element, numbers }
    }
}

impl Numbers {
    /// Numbers of a type; the caller has seen to it that they are such.
    pub(super) fn collect(element: Element, numbers: impl Iterator<Item = Number>) -> Self {
        let real = |number| match number {
            Number::Real(number) => number,
            Number::Whole(number) => number as f64,
            Number::Batch => f64::NAN,
        };
        match element {
            Element::F64 => Self::Double(numbers.map(real).collect()),
            Element::F32 | Element::F16 | Element::Bf16 => {
                Self::Single(numbers.map(|number| real(number) as f32).collect())
            }
            Element::Bool | Element::Int { .. } => Self::whole(numbers),
        }
    }

    fn whole(numbers: impl Iterator<Item = Number>) -> Self {
        let mut whole = Vec::new();
        let mut batches = Vec::new();
        for (place, number) in numbers.enumerate() {
            if number == Number::Batch {
                batches.push(place);
            }
            whole.push(match number {
                Number::Whole(number) => number,
                Number::Real(number) => number as i64,
                Number::Batch => 0,
            });
        }
        if batches.is_empty() {
            return Self::Whole(whole);
        }
        let mut sizes: Vec<Size> = whole.into_iter().map(Size::Known).collect();
        batches.into_iter().for_each(|place| sizes[place] = Size::Batch);
        Self::Sizes(sizes)
    }
}

/// Places of numbers in C order of a shape: a step along an axis moves by its stride.
pub(super) struct Walk {
    shape: Vec<usize>,
    strides: Vec<isize>,
    index: Vec<usize>,
    place: isize,
    left: usize,
}

impl Walk {
    /// From place `start` on. The product of the shape must be countable.
    pub(super) fn new(shape: &[usize], strides: Vec<isize>, start: isize) -> Self {
        let left = shape.iter().product();
        Self { shape: shape.to_vec(), strides, index: vec![0; shape.len()], place: start, left }
    }

    /// The places of a constant of shape `from` where it stands for one of shape `to`; none if it does not broadcast so.
    pub(super) fn broadcast(from: &[usize], to: &[usize]) -> Option<Self> {
        let missing = to.len().checked_sub(from.len())?;
        let own = strides(from);
        let mut all = vec![0; to.len()];
        for (axis, &side) in from.iter().enumerate() {
            match side == to[missing + axis] {
                true => all[missing + axis] = own[axis],
                false if side == 1 => {}
                false => return None,
            }
        }
        Some(Self::new(to, all, 0))
    }
}

impl Iterator for Walk {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let place = self.place;
        for axis in (0..self.shape.len()).rev() {
            self.index[axis] += 1;
            self.place += self.strides[axis];
            if self.index[axis] < self.shape[axis] {
                break;
            }
            self.place -= self.strides[axis] * self.shape[axis] as isize;
            self.index[axis] = 0;
        }
        usize::try_from(place).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// How far apart neighbours along each axis are in C order.
pub(super) fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis] as isize;
    }
    strides
}

/// The shape that both broadcast to, if there is one.
pub(super) fn joint(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let side =
        |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    (0..rank)
        .map(|axis| match (side(a, axis), side(b, axis)) {
            (a, b) if a == b || b == 1 => Some(a),
            (1, b) => Some(b),
            _ => None,
        })
        .collect()
}

/// How many numbers a shape has, if that can be counted.
pub(super) fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1, |product: usize, &side| product.checked_mul(side))
}
