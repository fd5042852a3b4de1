//! Arithmetic of constants, in the types that the file has.

use std::rc::Rc;

use super::OnnxError;
use super::call::Call;
use super::constant::{Constant, Number, Numbers, Walk, joint};
use super::element::{Element, label};
use super::scope::{Scope, Value};

type Read<'a> = Result<Value<'a>, OnnxError>;
type Computed = Result<Number, &'static str>;

const IMAGES: &str = "computes with the number of images; export the model for a fixed number";
const OVERFLOW: &str = "a result is out of the range of its type";

/// Functions of a constant.
pub(super) fn unary<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let constant = scope.constant(call, 0)?;
    let operator = call.operator();
    let element = constant.element;
    let numbers = (0..constant.len()).filter_map(|place| constant.get(place));
    let computed = numbers.map(|number| one(operator, element, number));
    finish(scope, call, constant.shape.clone(), element, computed)
}

/// Arithmetic and comparisons of two constants that broadcast to one shape; of more, one after the other.
pub(super) fn binary<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let mut result = Rc::new(scope.constant(call, 0)?);
    for index in 1..call.node.input.len() {
        let other = scope.constant(call, index)?;
        result = Rc::new(pair(scope, call, &result, &other)?);
    }
    Ok(Value::Constant(result))
}

/// `Cast(constant)`.
pub(super) fn cast<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let constant = scope.constant(call, 0)?;
    let number = call.int("to", 0);
    let to = i32::try_from(number).ok().and_then(Element::of);
    let to = to.ok_or_else(|| {
        let name = i32::try_from(number).map_or_else(|_| number.to_string(), label);
        call.error(format!("casts to {name}, which is not read"))
    })?;
    let numbers = (0..constant.len()).filter_map(|place| constant.get(place));
    let computed = numbers.map(|number| converted(to, number));
    finish(scope, call, constant.shape.clone(), to, computed)
}

fn pair<'a>(
    scope: &mut Scope<'a>,
    call: &Call<'a>,
    a: &Constant,
    b: &Constant,
) -> Result<Constant, OnnxError> {
    let operator = call.operator();
    if a.element != b.element && operator != "Pow" {
        return Err(call.error("its inputs have two types; cast one of them"));
    }
    let wrong = || call.error(format!("shapes {:?} and {:?} do not broadcast", a.shape, b.shape));
    let shape = joint(&a.shape, &b.shape).ok_or_else(wrong)?;
    scope.take(&shape)?;
    let places = (Walk::broadcast(&a.shape, &shape).ok_or_else(wrong)?)
        .zip(Walk::broadcast(&b.shape, &shape).ok_or_else(wrong)?);
    let element = if is_comparison(operator) { Element::Bool } else { a.element };
    let numbers = places.filter_map(|(left, right)| Some((a.get(left)?, b.get(right)?)));
    let computed = numbers.map(|(a, b)| two(operator, element, a, b));
    collected(call, shape, element, computed)
}

fn finish<'a>(
    scope: &mut Scope<'a>,
    call: &Call<'a>,
    shape: Vec<usize>,
    element: Element,
    computed: impl Iterator<Item = Computed>,
) -> Read<'a> {
    scope.take(&shape)?;
    Ok(Value::Constant(Rc::new(collected(call, shape, element, computed)?)))
}

fn collected(
    call: &Call<'_>,
    shape: Vec<usize>,
    element: Element,
    mut computed: impl Iterator<Item = Computed>,
) -> Result<Constant, OnnxError> {
    let mut fault = None;
    let numbers = std::iter::from_fn(|| match computed.next()? {
        Ok(number) => Some(number),
        Err(reason) => {
            fault = Some(reason);
            None
        }
    });
    let numbers = Numbers::collect(element, numbers);
    match fault {
        Some(reason) => Err(call.error(reason)),
        None => Ok(Constant { shape, element, numbers }),
    }
}

fn is_comparison(operator: &str) -> bool {
    matches!(operator, "Equal" | "Greater" | "Less")
}

/// A function of one number. Of real numbers the result is that of `f64`, rounded to their type.
fn one(operator: &str, element: Element, number: Number) -> Computed {
    match (operator, number) {
        (_, Number::Batch) => Err(IMAGES),
        ("Neg", Number::Whole(number)) => whole(element, number.checked_neg()),
        ("Abs", Number::Whole(number)) => whole(element, number.checked_abs()),
        (_, Number::Whole(_)) => Err("takes real numbers"),
        (operator, Number::Real(number)) => {
            let result = match operator {
                "Neg" => -number,
                "Abs" => number.abs(),
                "Sqrt" => number.sqrt(),
                "Reciprocal" => 1.0 / number,
                "Exp" => number.exp(),
                "Log" => number.ln(),
                "Floor" => number.floor(),
                "Ceil" => number.ceil(),
                _ => return Err("is not computed of constants"),
            };
            Ok(Number::Real(element.rounded(result)))
        }
    }
}

fn two(operator: &str, element: Element, a: Number, b: Number) -> Computed {
    match (a, b) {
        (Number::Real(a), Number::Real(b)) => reals(operator, element, a, b),
        (Number::Real(a), Number::Whole(b)) => reals(operator, element, a, b as f64),
        (Number::Whole(a), Number::Whole(b)) => wholes(operator, element, a, b),
        (Number::Whole(_), Number::Real(_)) => Err("raises integers to real powers"),
        // What leaves the number of images as it is.
        (Number::Batch, Number::Whole(0)) if matches!(operator, "Add" | "Sub") => Ok(a),
        (Number::Batch, Number::Whole(1)) if matches!(operator, "Mul" | "Div" | "Pow") => Ok(a),
        (Number::Whole(0), Number::Batch) if operator == "Add" => Ok(b),
        (Number::Whole(1), Number::Batch) if operator == "Mul" => Ok(b),
        (Number::Batch, Number::Whole(..0)) | (Number::Whole(..0), Number::Batch) if operator == "Equal" => {
            Ok(Number::Whole(0))
        }
        _ => Err(IMAGES),
    }
}

fn reals(operator: &str, element: Element, a: f64, b: f64) -> Computed {
    let truth = |is: bool| Ok(Number::Whole(i64::from(is)));
    let result = match operator {
        "Add" => a + b,
        "Sub" => a - b,
        "Mul" => a * b,
        "Div" => a / b,
        "Pow" => a.powf(b),
        "Max" => a.max(b),
        "Min" => a.min(b),
        "Equal" => return truth(a == b),
        "Greater" => return truth(a > b),
        "Less" => return truth(a < b),
        _ => return Err("is not computed of constants"),
    };
    Ok(Number::Real(element.rounded(result)))
}

fn wholes(operator: &str, element: Element, a: i64, b: i64) -> Computed {
    let truth = |is: bool| Ok(Number::Whole(i64::from(is)));
    let result = match operator {
        "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" if b == 0 => return Err("divides by zero"),
        "Div" => a.checked_div(b),
        "Pow" => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        "Max" => Some(a.max(b)),
        "Min" => Some(a.min(b)),
        "Equal" => return truth(a == b),
        "Greater" => return truth(a > b),
        "Less" => return truth(a < b),
        _ => return Err("is not computed of constants"),
    };
    whole(element, result)
}

/// An integer, if its type holds it.
fn whole(element: Element, number: Option<i64>) -> Computed {
    number.filter(|&number| element.holds(number)).map(Number::Whole).ok_or(OVERFLOW)
}

fn converted(to: Element, number: Number) -> Computed {
    match (to, number) {
        (Element::Bool, Number::Real(number)) => Ok(Number::Whole(i64::from(number != 0.0))),
        (Element::Bool, Number::Whole(number)) => Ok(Number::Whole(i64::from(number != 0))),
        (Element::Int { bits: 32 | 64, .. }, Number::Batch) => Ok(Number::Batch),
        (_, Number::Batch) => Err(IMAGES),
        (Element::Int { .. }, Number::Whole(number)) => whole(to, Some(number)),
        (Element::Int { .. }, Number::Real(number)) => {
            // The greatest `i64` has no neighbour in `f64` below 2^63.
            let fits = number.is_finite() && number.abs() < 9.2e18;
            whole(to, fits.then_some(number.trunc() as i64))
        }
        (_, Number::Whole(number)) => Ok(Number::Real(to.rounded(number as f64))),
        (_, Number::Real(number)) => Ok(Number::Real(to.rounded(number))),
    }
}
