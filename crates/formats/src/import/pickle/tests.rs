//! Hostile and odd pickles.

use super::*;

/// The fault of a pickle.
fn fault(bytes: &[u8]) -> Fault {
    unpickle(bytes).err().unwrap_or_else(|| panic!("accepted: {bytes:?}"))
}

#[track_caller]
fn bad(bytes: &[u8], part: &str) {
    match fault(bytes) {
        Fault::Bad { reason, .. } => assert!(reason.contains(part), "{reason}"),
        other => panic!("{other:?}"),
    }
}

fn root(bytes: &[u8]) -> Value<'_> {
    let pickle = unpickle(bytes).unwrap();
    pickle.get(pickle.root).clone()
}

#[test]
fn a_class_that_is_not_in_the_list_is_named() {
    for (bytes, class) in [
        (b"cos\nsystem\n(S'true'\ntR.".as_slice(), "os.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "builtins.eval"),
        (b"\x80\x02ctorch\nUnpickler\n.", "torch.Unpickler"),
        (b"cargparse\nNamespace\n)R.", "argparse.Namespace"),
        (b"cnumpy\nload\n.", "numpy.load"),
    ] {
        assert_eq!(fault(bytes), Fault::Class(class.to_owned()));
    }
}

#[test]
fn opcodes_that_make_objects_are_refused() {
    for bytes in [
        b"(ios\nsystem\n.".as_slice(),
        b"(cnumpy\nndarray\no.",
        b"\x80\x04)}\x92.",
        b"\x80\x02\x82\x01.",
        b"Pname\n.",
        b"\x80\x05\x97.",
    ] {
        bad(bytes, "nothing was run");
    }
    bad(b"\xff.", "is unknown");
    bad(b"\x80\x09N.", "protocol 9");
}

#[test]
fn sizes_are_compared_with_what_is_there() {
    for bytes in [
        b"B\xff\xff\xff\x7f.".as_slice(),
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x96\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"\x8b\xff\xff\xff\x7f.",
        b"\x8d\x00\x00\x00\x00\x01\x00\x00\x00.",
        b"\x95\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"X\x10\x00\x00\x00abc",
    ] {
        bad(bytes, "the file was cut");
    }
    bad(b"\x8b\xff\xff\xff\xff.", "a length is -1");
    bad(b"T\x00\x00\x00\x80.", "a length is");
}

#[test]
fn whole_numbers_of_any_size_are_read() {
    for (bytes, number) in [
        (b"\x8a\x00.".as_slice(), 0),
        (b"\x8a\x01\xff.", -1),
        (b"\x8b\x02\x00\x00\x00\x00\x80.", -32768),
        (b"I-7\n.", -7),
        (b"L12L\n.", 12),
        (b"J\xfe\xff\xff\xff.", -2),
    ] {
        assert!(matches!(root(bytes), Value::Int(got) if got == number), "{bytes:?}");
    }
    let huge = [b"\x8b\x00\x10\x00\x00".as_slice(), &[1; 4096], b"."].concat();
    assert!(matches!(root(&huge), Value::Opaque));
    bad(b"Ione\n.", "no whole number");
}

#[test]
fn nesting_and_length_are_bounded() {
    let marks = [vec![b'('; MOST_DEPTH + 1], vec![b'.']].concat();
    assert!(matches!(fault(&marks), Fault::Limit { limit: MOST_DEPTH, .. }));
    // Nested one in the other without a mark: no depth at which anything recurses.
    let nested = [b"N".as_slice(), &vec![0x85; 500_000], b"."].concat();
    assert!(matches!(root(&nested), Value::Tuple(items) if items.len() == 1));
    let long = [vec![b'N'; MOST_STEPS + 1], vec![b'.']].concat();
    assert!(matches!(fault(&long), Fault::Limit { limit: MOST_STEPS, .. }));
}

#[test]
fn a_list_in_itself_is_no_trouble() {
    assert!(matches!(root(b"]q\x00h\x00a."), Value::List(items) if items.len() == 1));
}

#[test]
fn a_memo_costs_what_is_put_into_it() {
    assert!(matches!(root(b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff."), Value::None));
    bad(b"h\x05.", "remembered as 5");
    bad(b"g99999999999999999999999\n.", "a memo has no number");
}

#[test]
fn decoded_text_is_bounded_by_the_file() {
    let letters = "b".repeat(200);
    let opening = format!("c_codecs\nencode\nq\0X\u{c8}\0\0\0{letters}q\u{1}0X\u{6}\0\0\0latin1q\u{2}0");
    let mut bytes: Vec<u8> = opening.chars().map(|letter| letter as u8).collect();
    for _ in 0..40 {
        bytes.extend(b"h\x00h\x01h\x02\x86R0");
    }
    bytes.extend(b"N.");
    assert!(matches!(fault(&bytes), Fault::Limit { what: "bytes of decoded text", .. }));
    bytes.truncate(bytes.len() - 2 - 39 * 9);
    bytes.extend(b"N.");
    assert!(matches!(root(&bytes), Value::None));
}

#[test]
fn stack_and_state_are_checked() {
    for bytes in
        [b".".as_slice(), b"0.", b"1.", b"t.", b"a.", b"s.", b"R.", b"b.", b"\x85.", b"2.", b"q\x00.", b"(."]
    {
        assert!(matches!(fault(bytes), Fault::Bad { .. }), "{bytes:?}");
    }
    bad(b"NNa.", "holds none");
    bad(b"}(Nu.", "a key has no value");
    bad(b"N)R.", "no class is called");
    bad(b"NNb.", "has none");
    bad(b"cnumpy\nndarray\n)R.", "Ndarray is called with 0");
    bad(b"cnumpy\ndtype\n(S'O8'\nI00\nI01\ntR.", "no element type of plain numbers");
    bad(b"NQ.", "a list is missing");
    bad(b"", "the file was cut");
}

#[test]
fn old_strings_are_unquoted() {
    assert!(matches!(root(b"S'a\\x00\\n\\'b'\n."), Value::Bytes(bytes) if *bytes == *b"a\0\n'b"));
    assert!(matches!(root(b"V\\u00e9\xe9\\x\n."), Value::Text(text) if text == "éé\\x"));
    bad(b"S'a\n.", "not quoted");
    bad(b"S'\\x0g'\n.", "\\x escape");
    bad(b"V\\ud800\n.", "no character");
}
