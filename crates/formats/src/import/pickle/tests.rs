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
fn a_class_that_reaches_beyond_the_program_ends_the_reading() {
    for (bytes, class) in [
        (b"cos\nsystem\n(S'true'\ntR.".as_slice(), "os.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x041+11\x85R.", "builtins.eval"),
        (b"c__builtin__\neval\n(S'data'\n(S'data'\nI1\nS'x'\nI2\ndtR.", "builtins.eval"),
        (b"c__builtin__\neval\n(S'f()'\n(S'data'\nI1\ndtR.", "builtins.eval"),
        (b"c__builtin__\neval\nNR.", "builtins.eval"),
        (b"c__builtin__\nexec\n.", "__builtin__.exec"),
        (b"(ios\nsystem\n.", "os.system"),
        (b"(csubprocess\nPopen\no.", "subprocess.Popen"),
        (b"cimportlib.util\nfind_spec\n.", "importlib.util.find_spec"),
        (b"ctorch\nload\n.", "torch.load"),
    ] {
        assert_eq!(fault(bytes), Fault::Class(class.to_owned()));
    }
}

#[test]
fn another_class_is_kept_with_what_it_was_given_and_not_called() {
    for bytes in [
        b"cargparse\nNamespace\n)R}S'lr'\nI1\nsb.".as_slice(),
        b"(iargparse\nNamespace\n}S'lr'\nI1\nsb.",
        b"(cargparse\nNamespace\no}S'lr'\nI1\nsb.",
        b"\x80\x04cargparse\nNamespace\n)}\x92}S'lr'\nI1\nsb.",
        b"\x80\x02cargparse\nNamespace\n)\x81}S'lr'\nI1\nsb.",
    ] {
        let pickle = unpickle(bytes).unwrap();
        let Value::Object(object) = pickle.get(pickle.root) else { panic!("{bytes:?}") };
        assert_eq!(pickle.class_name(pickle.root), "argparse.Namespace");
        assert!(matches!(pickle.get(object.state.unwrap()), Value::Dict(state) if state.len() == 1));
    }
    let dict = unpickle(b"ceasydict\nEasyDict\n)RS'a'\nI1\nsI2\nI3\ns.").unwrap();
    assert!(matches!(dict.get(dict.root), Value::Object(object) if object.entries.len() == 2));
    bad(b"\x80\x02\x82\x01.", "nothing was run");
    bad(b"\x80\x05\x97.", "nothing was run");
    bad(b"Pname\n.", "no storage of torch");
    bad(b"\xff.", "is unknown");
    bad(b"\x80\x09N.", "protocol 9");
    let many: Vec<u8> = (0..=MOST_FOREIGN).flat_map(|n| format!("ca\nb{n}\n0").into_bytes()).collect();
    assert!(matches!(fault(&[many, b"N.".to_vec()].concat()), Fault::Limit { limit: MOST_FOREIGN, .. }));
    assert!(matches!(root(&[b"ca\nb\n0".repeat(MOST_FOREIGN + 1), b"N.".to_vec()].concat()), Value::None));
}

#[test]
fn what_a_known_function_makes_of_unknown_arguments_is_refused_where_it_is_wanted() {
    for (bytes, part) in [
        (b"cnumpy\nndarray\n)R.".as_slice(), "arguments"),
        (b"cnumpy\ndtype\n(S'O8'\nI00\nI01\ntR.", "plain numbers"),
        (b"cnumpy\ndtype\n(S'f4'\ntR(I3\nS'<'\n(I1\ntNNtb.", "plain numbers"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nmatrix\n(I0\ntS'b'\ntR.", "derived"),
        (b"ctorch._utils\n_rebuild_qtensor\n)R.", "quantised"),
        (b"ctorch._utils\n_rebuild_sparse_tensor\n)R.", "to_dense"),
        (b"ctorch._utils\n_rebuild_meta_tensor_no_storage\n)R.", "no data"),
        (b"ctorch._tensor\n_rebuild_from_type_v2\n(Ncm\nC\n)NtR.", "derived"),
        (
            b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\ncm\nC\n)NtR.",
            "derived",
        ),
    ] {
        match root(bytes) {
            Value::Refused(reason) => assert!(reason.contains(part), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_array_that_paddle_wraps_is_the_array() {
    let wrapped = b"c__builtin__\neval\n(S'data'\n(S'data'\nI7\ndtR.";
    assert!(matches!(root(wrapped), Value::Int(7)));
}

#[test]
fn one_rebuilding_in_another_is_not_followed_without_end() {
    let nested = b"ctorch._tensor\n_rebuild_from_type_v2\nq\x000ctorch\nTensor\nq\x010)".to_vec();
    let mut bytes = nested;
    for _ in 0..100_000 {
        // (function, Tensor, what there was before, None), called.
        bytes.extend(b"q\x02(h\x00h\x01h\x02Nt");
    }
    bytes.extend(b"q\x02h\x00h\x02R.");
    assert!(matches!(root(&bytes), Value::Refused(_)));
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
