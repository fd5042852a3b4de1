//! The stack machine: one opcode after the other, until `STOP`.

use std::borrow::Cow;
use std::collections::HashMap;

use super::reader::{Reader, long, quoted, raw_unicode};
use super::value::text;
use super::{Fault, Id, MOST_DEPTH, MOST_FOREIGN, MOST_STEPS, OWNED_PER_BYTE, Pickle, Value, classes};

/// Reads one pickle from the start of `bytes`.
///
/// # Errors
/// Why it is refused.
pub(in super::super) fn unpickle(bytes: &[u8]) -> Result<Pickle<'_>, Fault> {
    let mut machine = Machine {
        reader: Reader { bytes, at: 0 },
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        foreign: HashMap::new(),
        owned_left: bytes.len().saturating_mul(OWNED_PER_BYTE),
    };
    for _ in 0..MOST_STEPS {
        let at = machine.reader.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => {
                return Ok(Pickle { values: machine.values, root, length: machine.reader.at });
            }
            Err(Stop::Bad(reason)) => return Err(Fault::Bad { at, reason }),
            Err(Stop::Fault(fault)) => return Err(fault),
        }
    }
    Err(Fault::Limit { what: "number of pickle opcodes", limit: MOST_STEPS })
}

/// Why a step failed.
pub(super) enum Stop {
    Bad(String),
    Fault(Fault),
}

impl From<String> for Stop {
    fn from(reason: String) -> Self {
        Self::Bad(reason)
    }
}

impl From<&str> for Stop {
    fn from(reason: &str) -> Self {
        Self::Bad(reason.to_owned())
    }
}

pub(super) type Step<T> = Result<T, Stop>;

/// The state of the machine.
pub(super) struct Machine<'a> {
    reader: Reader<'a>,
    pub(super) values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Classes and functions that are not in the list, by module and name.
    foreign: HashMap<[Cow<'a, str>; 2], Id>,
    /// Bytes that may still be made.
    pub(super) owned_left: usize,
}

impl<'a> Machine<'a> {
    /// Does one opcode; gives the result at `STOP`.
    fn step(&mut self) -> Step<Option<Id>> {
        let opcode = self.reader.u8().map_err(|_| "it has no end: the file was cut")?;
        match opcode {
            b'.' => return self.pop().map(Some),
            // PROTO, FRAME
            0x80 => match self.reader.u8()? {
                0..=5 => {}
                version => return Err(format!("it is of protocol {version}; 0 to 5 are known").into()),
            },
            0x95 => {
                let (length, at) = (self.reader.u64()?, self.reader.at);
                self.reader.take(length)?;
                self.reader.at = at;
            }
            b'(' if self.marks.len() == MOST_DEPTH => {
                return Err(Stop::Fault(Fault::Limit { what: "nesting of a pickle", limit: MOST_DEPTH }));
            }
            b'(' => self.marks.push(self.stack.len()),
            b'0' => self.discard()?,
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'g' | b'h' | b'j' | b'p' | b'q' | b'r' | 0x94 => self.memo(opcode)?,
            b']' | b')' | b'}' | 0x8f | b't' | b'l' | b'd' | 0x91 | 0x85..=0x87 => self.container(opcode)?,
            b'a' | b'e' | b's' | b'u' | 0x90 => self.extend(opcode)?,
            b'c' | 0x93 => self.class(opcode)?,
            b'R' | 0x81 | 0x92 | b'i' | b'o' => {
                let (callee, arguments) = self.call_of(opcode)?;
                let result = self.call(callee, arguments)?;
                self.stack.push(result);
            }
            b'b' => {
                let (state, object) = (self.pop()?, self.top()?);
                self.set_state(object, state)?;
            }
            b'Q' => {
                let name = self.pop()?;
                let named = self.persistent(name)?;
                self.stack.push(named);
            }
            b'P' => {
                let line = self.reader.text_line()?;
                let storage = Self::persistent_text(line)?;
                self.push(storage);
            }
            _ => {
                let value = self.scalar(opcode)?;
                self.push(value);
            }
        }
        Ok(None)
    }

    /// Numbers, texts and bytes.
    fn scalar(&mut self, opcode: u8) -> Step<Value<'a>> {
        let reader = &mut self.reader;
        Ok(match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'I' => match reader.line()? {
                b"01" => Value::Bool(true),
                b"00" => Value::Bool(false),
                line => decimal(line)?,
            },
            b'L' => decimal(reader.line()?.strip_suffix(b"L").unwrap_or_default())?,
            b'J' => Value::Int(i64::from(reader.i32()?)),
            b'K' => Value::Int(i64::from(reader.u8()?)),
            b'M' => Value::Int(i64::from(reader.u16()?)),
            0x8a | 0x8b => {
                let length = if opcode == 0x8a { u64::from(reader.u8()?) } else { reader.length()? };
                long(reader.take(length)?).map_or(Value::Opaque, Value::Int)
            }
            b'F' => {
                let line = reader.text_line()?;
                line.parse::<f64>().map_err(|_| format!("`{line:.40}` is no number"))?;
                Value::Opaque
            }
            b'G' => {
                reader.f64_big_endian()?;
                Value::Opaque
            }
            b'S' => {
                let bytes = quoted(reader.line()?)?;
                if let Cow::Owned(bytes) = &bytes {
                    self.pay_bytes(bytes.len())?;
                }
                Value::Bytes(bytes)
            }
            b'V' => {
                let text = raw_unicode(reader.line()?)?;
                if let Cow::Owned(text) = &text {
                    self.pay_bytes(text.len())?;
                }
                Value::Text(text)
            }
            b'T' | b'B' | b'U' | b'C' | 0x8e | 0x96 => Value::Bytes(Cow::Borrowed(self.counted(opcode)?)),
            b'X' | 0x8c | 0x8d => {
                let length = match opcode {
                    b'X' => u64::from(reader.u32()?),
                    0x8c => u64::from(reader.u8()?),
                    _ => reader.u64()?,
                };
                Value::Text(Cow::Borrowed(reader.text(length)?))
            }
            other => return Err(refused(other).into()),
        })
    }

    /// Bytes after their length.
    fn counted(&mut self, opcode: u8) -> Step<&'a [u8]> {
        let reader = &mut self.reader;
        let length = match opcode {
            b'T' => reader.length()?,
            b'B' => u64::from(reader.u32()?),
            b'U' | b'C' => u64::from(reader.u8()?),
            _ => reader.u64()?,
        };
        Ok(reader.take(length)?)
    }

    fn memo(&mut self, opcode: u8) -> Step<()> {
        let number = match opcode {
            b'g' | b'p' => self.reader.text_line()?.parse().map_err(|_| "a memo has no number")?,
            b'h' | b'q' => u64::from(self.reader.u8()?),
            b'j' | b'r' => u64::from(self.reader.u32()?),
            _ => self.memo.len() as u64,
        };
        if matches!(opcode, b'g' | b'h' | b'j') {
            let id = *self.memo.get(&number).ok_or_else(|| format!("nothing was remembered as {number}"))?;
            self.stack.push(id);
        } else {
            let top = self.top()?;
            self.memo.insert(number, top);
        }
        Ok(())
    }

    fn container(&mut self, opcode: u8) -> Step<()> {
        let value = match opcode {
            b']' => Value::List(Vec::new()),
            b')' => Value::Tuple(Vec::new()),
            b'}' => Value::Dict(Vec::new()),
            0x8f => Value::Opaque,
            b't' => Value::Tuple(self.pop_to_mark()?),
            b'l' => Value::List(self.pop_to_mark()?),
            b'd' => Value::Dict(pairs(&self.pop_to_mark()?)?),
            0x91 => {
                self.pop_to_mark()?;
                Value::Opaque
            }
            _ => {
                let count = usize::from(opcode - 0x84);
                let mut items = Vec::with_capacity(count);
                for _ in 0..count {
                    items.push(self.pop()?);
                }
                items.reverse();
                Value::Tuple(items)
            }
        };
        self.push(value);
        Ok(())
    }

    /// Puts items into the container below them.
    fn extend(&mut self, opcode: u8) -> Step<()> {
        let items = match opcode {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_to_mark()?,
        };
        let container = self.top()? as usize;
        match (opcode, self.values.get_mut(container)) {
            (b'a' | b'e', Some(Value::List(list))) => list.extend(items),
            (b's' | b'u', Some(Value::Dict(dict))) => dict.extend(pairs(&items)?),
            (b's' | b'u', Some(Value::Object(object))) => object.entries.extend(pairs(&items)?),
            (_, Some(Value::Object(object))) => object.items.extend(items),
            // A set or a counter, of which no tensor is made.
            (_, Some(Value::Opaque | Value::Refused(_))) => {}
            _ => return Err("items are put into something that holds none".into()),
        }
        Ok(())
    }

    /// A class and its arguments, from the places where an opcode has them.
    fn call_of(&mut self, opcode: u8) -> Step<(Id, Id)> {
        if opcode == 0x92 {
            // The named arguments: no class of the list takes any.
            self.pop()?;
        }
        if matches!(opcode, b'i' | b'o') {
            if opcode == b'i' {
                self.class(b'c')?;
            }
            let class = if opcode == b'i' { Some(self.pop()?) } else { None };
            let mut arguments = self.pop_to_mark()?.into_iter();
            let class = class.or_else(|| arguments.next()).ok_or("an object has no class")?;
            let arguments = self.add(Value::Tuple(arguments.collect()));
            return Ok((class, arguments));
        }
        let (arguments, callee) = (self.pop()?, self.pop()?);
        Ok((callee, arguments))
    }

    /// `GLOBAL` and `STACK_GLOBAL`: a class or function by its module and name.
    fn class(&mut self, opcode: u8) -> Step<()> {
        let name = if opcode == b'c' {
            [self.reader.text_line()?.into(), self.reader.text_line()?.into()]
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            [self.name(module)?, self.name(name)?]
        };
        if classes::is_attack(&name[0], &name[1]) {
            return Err(Stop::Fault(Fault::Class(shortened(&name.join(".")))));
        }
        if let Some(class) = classes::find(&name[0], &name[1]) {
            self.push(Value::Class(class));
            return Ok(());
        }
        let id = match self.foreign.get(&name) {
            Some(&id) => id,
            None if self.foreign.len() == MOST_FOREIGN => {
                return Err(Stop::Fault(Fault::Limit { what: "number of classes", limit: MOST_FOREIGN }));
            }
            None => {
                let id = self.add(Value::Foreign(Box::new(name.clone())));
                self.foreign.insert(name, id);
                id
            }
        };
        self.stack.push(id);
        Ok(())
    }

    /// A text that names a module or a class.
    fn name(&mut self, id: Id) -> Step<Cow<'a, str>> {
        if let Value::Text(Cow::Borrowed(name)) = *self.value(id) {
            return Ok(Cow::Borrowed(name));
        }
        let length = text(&self.values, id).map_or(0, str::len);
        self.pay_bytes(length)?;
        let name = text(&self.values, id).ok_or("a class has no name")?;
        Ok(Cow::Owned(name.to_owned()))
    }

    pub(super) fn push(&mut self, value: Value<'a>) {
        let id = self.add(value);
        self.stack.push(id);
    }

    /// Takes a value into the list; at most three per opcode, so that its index fits.
    pub(super) fn add(&mut self, value: Value<'a>) -> Id {
        let id = self.values.len() as Id;
        self.values.push(value);
        id
    }

    /// The top of the stack above the last mark.
    fn top(&self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.get(floor..).and_then(<[Id]>::last).copied().ok_or_else(|| "the stack is empty".into())
    }

    fn pop(&mut self) -> Step<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Id>> {
        let height = self.marks.pop().ok_or("there is no mark")?;
        Ok(self.stack.split_off(height))
    }

    /// `POP`, which also takes a mark.
    fn discard(&mut self) -> Step<()> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    /// Counts bytes that are no part of the file.
    pub(super) fn pay_bytes(&mut self, bytes: usize) -> Step<()> {
        let limit = self.reader.bytes.len().saturating_mul(OWNED_PER_BYTE);
        let too_many = || Stop::Fault(Fault::Limit { what: "bytes of decoded text", limit });
        self.owned_left = self.owned_left.checked_sub(bytes).ok_or_else(too_many)?;
        Ok(())
    }
}

fn pairs(items: &[Id]) -> Step<Vec<(Id, Id)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    } else {
        Err("a key has no value".into())
    }
}

/// A whole number in decimal; one beyond 64 bits is no part of a tensor.
fn decimal(line: &[u8]) -> Step<Value<'static>> {
    let text = std::str::from_utf8(line).map_err(|_| "a number is not text")?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{text:.40}` is no whole number").into());
    }
    Ok(text.parse().map_or(Value::Opaque, Value::Int))
}

/// What an opcode that the machine does not do would do.
fn refused(opcode: u8) -> String {
    let name = match opcode {
        0x82..=0x84 => "uses a table of extensions",
        0x97 | 0x98 => "uses a buffer outside of the file",
        _ => "is unknown",
    };
    format!("opcode {opcode:#04x} {name}; nothing was run")
}

/// A name short enough for a message.
pub(super) fn shortened(name: &str) -> String {
    const MOST: usize = 100;
    let clean = name.chars().map(|character| if character.is_control() { '?' } else { character });
    if name.chars().count() <= MOST {
        clean.collect()
    } else {
        clean.take(MOST).chain("...".chars()).collect()
    }
}
