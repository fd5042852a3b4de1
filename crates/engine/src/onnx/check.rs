//! Whether a node has what its operator may have: the first look at a file, at all nodes before any is read.

use super::OnnxError;
use super::call::Call;
use super::proto::AttributeProto;
use super::table::{Form, Further, Kind, Operator, Setting};

/// Everything about a node that its operator set does not know or that is not supported, whatever its inputs are.
pub(super) fn faults<'a>(
    call: &Call<'a>,
    operator: &Operator,
    is_read: impl Fn(&str) -> bool,
) -> Vec<OnnxError> {
    let Some(form) = operator.form(call.opset) else {
        let since = operator.forms.first().map_or(0, |form| form.since);
        let reason = format!("came with operator set {since}, and the file names {}", call.opset);
        return vec![call.error(format!("{reason}; export the model again"))];
    };
    let mut reasons: Vec<String> = inputs(call, operator, form).into_iter().collect();
    reasons.extend(outputs(call, form, is_read));
    for (position, attribute) in call.node.attribute.iter().enumerate() {
        let name = attribute.name.as_deref().unwrap_or_default();
        let is_twin = |earlier: &AttributeProto| earlier.name.as_deref().unwrap_or_default() == name;
        if call.node.attribute[..position].iter().any(is_twin) {
            reasons.push(format!("attribute {name} is given twice; keep one of them"));
            continue;
        }
        reasons.extend(match form.settings.iter().find(|setting| setting.name == name) {
            Some(setting) => value_fault(setting, attribute),
            None => Some(unknown(call, operator, name)),
        });
    }
    let is_given = |setting: &Setting| call.attribute(setting.name).is_some();
    let missing = form.settings.iter().find(|setting| setting.is_required && !is_given(setting));
    reasons.extend(
        missing.map(|setting| format!("attribute {} is missing; export the model again", setting.name)),
    );
    reasons.into_iter().map(|reason| call.error(reason)).collect()
}

fn inputs(call: &Call<'_>, operator: &Operator, form: &Form) -> Option<String> {
    let [least, most] = form.inputs;
    let given = call.node.input.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
    if given > most {
        let other = operator.forms.iter().find(|other| other.inputs[1] >= given);
        let hint = other.map_or_else(String::new, |other| format!(" (from set {} on it may)", other.since));
        let at_most = format!("has at most {most} in operator set {}{hint}", call.opset);
        return Some(format!("has {given} inputs, but {} {at_most}; export the model again", operator.name));
    }
    let missing = (0..least).find(|&index| call.input(index).is_none())?;
    Some(format!("input {missing} is missing; export the model again"))
}

fn outputs(call: &Call<'_>, form: &Form, is_read: impl Fn(&str) -> bool) -> Option<String> {
    let outputs = &call.node.output;
    let given = outputs.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
    if given > form.outputs {
        return Some(format!(
            "has {given} outputs, expected at most {}; export the model again",
            form.outputs
        ));
    }
    let extra = outputs.iter().skip(1).find(|name| !name.is_empty());
    let read = outputs.iter().skip(1).find(|name| !name.is_empty() && is_read(name));
    match (form.further, extra, read) {
        (Further::Training, Some(name), _) => Some(format!(
            "has the further output `{name}`, the mark of a node in training; export the model for inference \
             (`model.eval()` in PyTorch)"
        )),
        (Further::Unread, _, Some(name)) => Some(format!(
            "its further output `{name}` (a mask or indices) is read, but not computed here; export the model without it"
        )),
        _ => None,
    }
}

/// Why an attribute has no place, and where it has one.
fn unknown(call: &Call<'_>, operator: &Operator, name: &str) -> String {
    let has = |form: &Form| form.settings.iter().any(|setting| setting.name == name);
    let place = operator.forms.iter().position(has);
    let Some(place) = place else {
        let set = call.opset;
        return format!(
            "{} has no attribute `{name}` in operator set {set}; export the model again",
            operator.name
        );
    };
    let form = &operator.forms[place];
    let end = operator.forms[place..].iter().find(|later| !has(later)).map(|later| later.since - 1);
    let sets = match end {
        Some(end) => format!("{} to {end}", form.since),
        None => format!("{} on", form.since),
    };
    format!(
        "attribute `{name}` belongs to {} of operator sets {sets}, but the file names set {}; name the set that its nodes \
         were made for, or export it again",
        operator.name, call.opset
    )
}

fn value_fault(setting: &Setting, attribute: &AttributeProto) -> Option<String> {
    let name = setting.name;
    if attribute.ref_attr_name.as_deref().is_some_and(|name| !name.is_empty()) {
        return Some(format!("attribute {name} refers to one of a function, but stands in no function"));
    }
    if !has_kind(attribute, setting.kind) {
        let got = got(attribute);
        return Some(format!(
            "attribute {name} is {got}, expected {}; export the model again",
            setting.kind.label()
        ));
    }
    match setting.only {
        Some((number, advice)) if attribute.i.unwrap_or_default() != number => {
            Some(format!("{name} is {}, supported is {number}; {advice}", attribute.i.unwrap_or_default()))
        }
        _ => None,
    }
}

/// Whether an attribute says that it is of a kind and holds nothing else. Old files say nothing; then its value must.
fn has_kind(attribute: &AttributeProto, kind: Kind) -> bool {
    let said = attribute.r#type.unwrap_or_default();
    let held = held(attribute);
    (said == kind.number() || said == 0 && held.contains(&kind))
        && held.iter().all(|&held| held == kind || is_zero(attribute, held))
}

/// The kinds of which an attribute holds a value.
fn held(attribute: &AttributeProto) -> Vec<Kind> {
    let kinds = [
        (attribute.f.is_some(), Kind::Float),
        (attribute.i.is_some(), Kind::Int),
        (attribute.s.is_some(), Kind::Text),
        (attribute.t.is_some(), Kind::Tensor),
        (!attribute.floats.is_empty(), Kind::Floats),
        (!attribute.ints.is_empty(), Kind::Ints),
        (!attribute.strings.is_empty(), Kind::Texts),
        (attribute.sparse_tensor.is_some(), Kind::Sparse),
    ];
    kinds.into_iter().filter_map(|(is_held, kind)| is_held.then_some(kind)).collect()
}

/// Whether a value is what programs write that write every field.
fn is_zero(attribute: &AttributeProto, kind: Kind) -> bool {
    match kind {
        Kind::Float => attribute.f == Some(0.0),
        Kind::Int => attribute.i == Some(0),
        Kind::Text => attribute.s.as_deref() == Some(b""),
        _ => false,
    }
}

/// What an attribute is, for a message.
fn got(attribute: &AttributeProto) -> String {
    let held: Vec<&str> = held(attribute).into_iter().map(Kind::label).collect();
    let held = if held.is_empty() { "without a value".to_owned() } else { held.join(" and ") };
    match attribute.r#type.unwrap_or_default() {
        0 => format!("{held}, without a type"),
        said => format!("{held}, of type {said}"),
    }
}
