//! Small differences between Python's command lines and ours, evened out before parsing.

use std::ffi::OsString;

/// Rewrites an argument list: hyphens in the name of a `--long-option` become underscores, up to the `=`; and a
/// negative number that has letters (`-1e-5`, `-inf`), which would pass for short options, is joined to the option
/// before it. Everything after a lone `--` stays as it is.
pub(super) fn normalise(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut normalised: Vec<OsString> = Vec::new();
    let mut options_ended = false;
    for argument in arguments {
        options_ended |= argument == "--";
        match normalised.last_mut() {
            _ if options_ended => normalised.push(argument),
            Some(option) if is_option(option) && is_negative_with_letters(&argument) => {
                option.push("=");
                option.push(argument);
            }
            _ => normalised.push(with_underscores(argument)),
        }
    }
    normalised
}

/// Names the argument that is no UTF-8, with its option: the value of an option first, since images may have any name.
pub(super) fn not_utf8(arguments: &[OsString]) -> Option<String> {
    let odd = |index: &usize| arguments[*index].to_str().is_none();
    let before =
        |index: usize| index.checked_sub(1).map(|before| &arguments[before]).filter(|it| is_option(it));
    let indices = || (1..arguments.len()).filter(odd);
    let index = indices().find(|&index| before(index).is_some()).or_else(|| indices().next())?;
    let option = before(index).map_or_else(String::new, |option| format!("{} ", option.display()));
    let argument = arguments[index].display();
    Some(format!(
        "{option}{argument}: it is not UTF-8; give the file or folder a name in UTF-8, or a link of such a name"
    ))
}

fn with_underscores(argument: OsString) -> OsString {
    let Some(option) = argument.to_str().and_then(|text| text.strip_prefix("--")) else { return argument };
    let (name, value) = option.find('=').map_or((option, ""), |at| option.split_at(at));
    format!("--{}{value}", name.replace('-', "_")).into()
}

/// True for `--name` without a value.
fn is_option(argument: &OsString) -> bool {
    argument.to_str().is_some_and(|text| text.starts_with("--") && !text.contains('='))
}

fn is_negative_with_letters(argument: &OsString) -> bool {
    argument.to_str().is_some_and(|text| {
        text.starts_with('-') && text.contains(char::is_alphabetic) && text.parse::<f64>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let got = normalise(line.split(' ').map(OsString::from));
        assert_eq!(got, expected.split(' ').map(OsString::from).collect::<Vec<_>>(), "{line}");
    }

    #[test]
    fn only_names_of_long_options_change() {
        check("--batch-size 1-2 --batch-size=1-2", "--batch_size 1-2 --batch_size=1-2");
        check("--resume_epoch -1 -h", "--resume_epoch -1 -h");
        check("--set=data.path=a-b --set data.path=a-b", "--set=data.path=a-b --set data.path=a-b");
        check("--a-b -- --a-b", "--a_b -- --a-b");
    }

    #[test]
    #[cfg(unix)]
    fn what_is_no_utf8_is_named_with_its_option() {
        use std::os::unix::ffi::OsStringExt;
        let odd = || OsString::from_vec(b"caf\xe9".to_vec());
        let word = OsString::from;
        let named = |line: Vec<OsString>| not_utf8(&line).unwrap_or_default();
        assert!(named(vec![word("x"), word("--model_path"), odd()]).starts_with("--model_path caf"));
        assert!(named(vec![word("x"), odd(), word("--key"), odd()]).starts_with("--key caf"));
        assert!(named(vec![word("x"), word("inspect"), odd()]).starts_with("caf"));
        assert_eq!(named(vec![word("x"), word("a")]), "");
    }

    #[test]
    fn negative_numbers_with_letters_are_joined_to_their_option() {
        check("--lr -1e-5 --ratio -inf", "--lr=-1e-5 --ratio=-inf");
        check("--step-epochs -1 2", "--step_epochs -1 2");
        check("--lr=1 -1e5 -e", "--lr=1 -1e5 -e");
        check("--lr -V", "--lr -V");
        check("-- -1e5", "-- -1e5");
    }
}
