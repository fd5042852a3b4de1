//! Where the `unsafe` keyword may stand, and what must be written above it.
//!
//! Tokens are searched, not syntax trees, so that macro bodies count too.

use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::Offence;

/// The only folders with unsafe code: registers, the kernels made of them, and what runs the CUDA sources in tests.
const UNSAFE_FOLDERS: [&str; 5] =
    ["crates/kernels/", "crates/vectors/", "crates/inference/", "crates/cuda/", "crates/emulator/"];
/// The only files elsewhere: one maps weights into memory, the other takes pointers from C.
const UNSAFE_FILES: [&str; 2] = ["crates/formats/src/map.rs", "crates/engine/src/c_api.rs"];

/// What must be written right above an `unsafe`.
#[derive(Clone, Copy, PartialEq)]
enum Need {
    /// A comment `// SAFETY:` that says why the code is sound.
    Reason,
    /// A doc section `# Safety` that says what the caller must uphold.
    Contract,
    /// A function pointer type promises nothing.
    Nothing,
}

/// The `unsafe` keywords in one Rust file that are misplaced or unexplained.
pub(super) fn check(path: &str, text: &str) -> Vec<Offence> {
    let Ok(tokens) = TokenStream::from_str(text) else {
        return vec![Offence::in_file(path, "cannot be split into tokens")];
    };
    let mut found = Vec::new();
    find(tokens, &mut found);
    let lines: Vec<&str> = text.lines().collect();
    found.into_iter().filter_map(|(line, need)| offence(path, &lines, line, need)).collect()
}

fn offence(path: &str, lines: &[&str], line: usize, need: Need) -> Option<Offence> {
    if !UNSAFE_FILES.contains(&path) && !UNSAFE_FOLDERS.iter().any(|folder| path.starts_with(folder)) {
        let folder = UNSAFE_FOLDERS[0];
        return Some(Offence::at(path, line, format!("`unsafe` outside {folder}; move it there")));
    }
    let above = || lines_above(lines, line);
    match need {
        Need::Reason if !above().any(|text| text.starts_with("//") && text.contains("SAFETY:")) => {
            Some(Offence::at(path, line, "`unsafe` without a `// SAFETY:` comment right above it"))
        }
        Need::Contract if !above().any(|text| text.starts_with("///") && text.contains("# Safety")) => Some(
            Offence::at(path, line, "`unsafe` declaration without a `# Safety` section in its doc comment"),
        ),
        _ => None,
    }
}

/// The lines above `line` (counted from 1), nearest first, up to the end of what comes before: comments, attributes and
/// the beginning of the same statement.
fn lines_above<'a>(lines: &'a [&str], line: usize) -> impl Iterator<Item = &'a str> {
    lines[..line - 1].iter().rev().map(|text| text.trim()).take_while(|text| {
        text.starts_with("//")
            || text.starts_with("#[")
            || !(text.is_empty() || text.ends_with([';', '{', '}', ',']))
    })
}

fn find(tokens: TokenStream, found: &mut Vec<(usize, Need)>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(word) if word == "unsafe" => {
                found.push((word.span().start().line, need(&tokens[index + 1..])));
            }
            TokenTree::Group(group) => find(group.stream(), found),
            _ => {}
        }
    }
}

/// What the `unsafe` before these tokens needs.
fn need(following: &[TokenTree]) -> Need {
    let word =
        |token: &TokenTree| if let TokenTree::Ident(word) = token { word.to_string() } else { String::new() };
    let mut rest = following
        .iter()
        .skip_while(|token| word(token) == "extern" || matches!(token, TokenTree::Literal(_)));
    let Some(first) = rest.next() else { return Need::Reason };
    match word(first).as_str() {
        "fn" => match rest.next() {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => Need::Nothing,
            _ => Need::Contract,
        },
        "trait" => Need::Contract,
        _ => Need::Reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(path, text).iter().map(Offence::to_string).collect()
    }

    fn lines_at_fault(text: &str) -> Vec<usize> {
        check("crates/kernels/src/a.rs", text).iter().filter_map(|offence| offence.line).collect()
    }

    #[test]
    fn the_keyword_outside_the_kernels_is_found_even_when_explained() {
        let text =
            "// SAFETY: nothing happens.\nfn a() { unsafe {} }\nmacro_rules! m { () => { unsafe {} } }";
        assert_eq!(
            messages("crates/ops/src/a.rs", text),
            [2, 3].map(|line| format!(
                "crates/ops/src/a.rs:{line}: `unsafe` outside crates/kernels/; move it there"
            ))
        );
    }

    #[test]
    fn two_files_elsewhere_may_have_it_explained() {
        let text = "// SAFETY: nothing happens.\nfn a() { unsafe {} }\nfn b() { unsafe {} }";
        for file in ["crates/formats/src/map.rs", "crates/engine/src/c_api.rs"] {
            let message = "`unsafe` without a `// SAFETY:` comment right above it";
            assert_eq!(messages(file, text), [format!("{file}:3: {message}")]);
        }
        for other in [
            "crates/formats/src/file.rs",
            "crates/formats/src/map.rs/a.rs",
            "crates/formats/src/map.rs2",
            "crates/engine/src/engine.rs",
            "crates/engine/src/c_api/failure.rs",
            "crates/engine/tests/c_api.rs",
        ] {
            let found = messages(other, text);
            assert!(found.len() == 2 && found[0].contains("outside crates/kernels/"), "{found:?}");
        }
    }

    #[test]
    fn the_word_in_names_texts_and_comments_is_no_keyword() {
        let text = "#![deny(unsafe_code)]\n// unsafe\nconst A: &str = \"unsafe { }\";\nfn unsafe_free() {}";
        assert!(messages("crates/ops/src/a.rs", text).is_empty());
    }

    #[test]
    fn an_unexplained_block_is_found() {
        assert_eq!(lines_at_fault("fn a() {\n    unsafe { b() }\n}"), [2]);
        assert_eq!(lines_at_fault("fn a() {\n    // It is fine.\n    unsafe { b() }\n}"), [3]);
        assert_eq!(lines_at_fault("// SAFETY: too far away.\n\nfn a() {\n    unsafe { b() }\n}"), [4]);
        let second = "fn a() {\n    // SAFETY: b is sound.\n    unsafe { b() };\n    unsafe { c() };\n}";
        assert_eq!(lines_at_fault(second), [4]);
        assert_eq!(lines_at_fault("struct A;\nunsafe impl Send for A {}"), [2]);
        assert_eq!(lines_at_fault("// SAFETY: A is empty.\n\nunsafe impl Send for A {}"), [3]);
    }

    #[test]
    fn an_explained_block_passes() {
        for text in [
            "fn a() {\n    // SAFETY: b is sound.\n    unsafe { b() }\n}",
            "fn a() {\n    // SAFETY: b is sound, because\n    // it does nothing;\n    #[allow(dead_code)]\n    let x = unsafe { b() };\n}",
            "fn a() {\n    // SAFETY: b is sound.\n    let x =\n        unsafe { b() };\n}",
            "struct A;\n// SAFETY: A is empty.\nunsafe impl Send for A {}",
        ] {
            assert_eq!(lines_at_fault(text), [0; 0], "{text}");
        }
    }

    #[test]
    fn a_declaration_needs_a_contract() {
        assert_eq!(lines_at_fault("// SAFETY: no contract.\nunsafe fn a() {}"), [2]);
        assert_eq!(lines_at_fault("/// Does a.\npub unsafe extern \"C\" fn a() {}"), [2]);
        assert_eq!(lines_at_fault("pub unsafe trait A {}"), [1]);
        let documented =
            "/// Does a.\n///\n/// # Safety\n/// `x` is valid.\n#[inline]\npub unsafe fn a(x: *const u8) {}";
        assert_eq!(lines_at_fault(documented), [0; 0]);
        assert_eq!(lines_at_fault("type A = unsafe fn(u8);\ntype B = unsafe extern \"C\" fn(u8);"), [0; 0]);
    }
}
