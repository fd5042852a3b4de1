//! How long a file or function may be, and how many parameters a function may take. Tests count too.

use proc_macro2::Span;
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

use super::Offence;

const MOST_FILE_LINES: usize = 600;
const MOST_BODY_LINES: usize = 80;
const MOST_PARAMETERS: usize = 7;

/// The sizes in one Rust file that are over the limit. Functions inside macro calls are not seen.
pub(super) fn check(path: &str, text: &str) -> Vec<Offence> {
    let mut offences = Vec::new();
    let lines = text.lines().count();
    if lines > MOST_FILE_LINES {
        offences.push(Offence::in_file(
            path,
            format!("{lines} lines, at most {MOST_FILE_LINES}; split the file"),
        ));
    }
    match syn::parse_file(text) {
        Ok(file) => {
            let mut functions = Functions { path, offences };
            functions.visit_file(&file);
            functions.offences
        }
        Err(error) => {
            let line = error.span().start().line;
            offences.push(Offence::at(path, line, format!("does not parse: {error}")));
            offences
        }
    }
}

struct Functions<'a> {
    path: &'a str,
    offences: Vec<Offence>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &Signature, body: Option<&Block>) {
        let line = |span: Span| span.start().line;
        let name = &signature.ident;
        let mut offend = |message| self.offences.push(Offence::at(self.path, line(name.span()), message));
        let parameters = signature.inputs.len();
        if parameters > MOST_PARAMETERS {
            offend(format!(
                "`{name}` takes {parameters} parameters, at most {MOST_PARAMETERS}; group them in a struct"
            ));
        }
        let Some(body) = body else { return };
        let braces = body.brace_token.span;
        let body_lines = (line(braces.close()) - line(braces.open())).saturating_sub(1);
        if body_lines > MOST_BODY_LINES {
            offend(format!(
                "the body of `{name}` has {body_lines} lines, at most {MOST_BODY_LINES}; split it"
            ));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.measure(&function.sig, Some(&function.block));
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.measure(&function.sig, Some(&function.block));
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        self.measure(&function.sig, function.default.as_ref());
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<String> {
        check("a.rs", text).iter().map(Offence::to_string).collect()
    }

    fn function(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "    work();\n".repeat(lines))
    }

    #[test]
    fn a_long_file_is_found() {
        assert!(messages(&"// line\n".repeat(600)).is_empty());
        assert_eq!(messages(&"// line\n".repeat(601)), ["a.rs: 601 lines, at most 600; split the file"]);
    }

    #[test]
    fn a_long_body_is_found_wherever_it_is() {
        let inner = function(81);
        for (text, line) in [
            (inner.clone(), 1),
            (format!("mod m {{\n{inner}}}"), 2),
            (format!("impl X {{\n\n{inner}}}"), 3),
            (format!("trait X {{\n{inner}}}"), 2),
            (format!("#[test]\n{inner}"), 2),
        ] {
            let expected = format!("a.rs:{line}: the body of `long` has 81 lines, at most 80; split it");
            assert_eq!(messages(&text), [expected], "{text}");
        }
        assert!(messages(&function(80)).is_empty());
    }

    #[test]
    fn many_parameters_are_found() {
        let taking = |count: usize| {
            let parameters: Vec<String> = (0..count).map(|index| format!("p{index}: u8")).collect();
            format!("trait X {{\n    fn wide({});\n}}", parameters.join(", "))
        };
        assert!(messages(&taking(7)).is_empty());
        assert_eq!(
            messages(&taking(8)),
            ["a.rs:2: `wide` takes 8 parameters, at most 7; group them in a struct"]
        );
    }

    #[test]
    fn a_file_that_does_not_parse_is_found() {
        assert!(messages("fn a() {}\nfn {").concat().starts_with("a.rs:2: does not parse"));
    }
}
