//! A safetensors file that contradicts itself is refused with the contradiction.

use tlbench_checkpoint::Weights;
use tlbench_sdk::spec::TensorSource;

use crate::support::{Folder, safetensors, two_tensors};

fn refusal(content: impl AsRef<[u8]>) -> String {
    let folder = Folder::new();
    let file = folder.write("model.safetensors", content);
    folder
        .said(Weights::open(file).unwrap_err())
        .replace("[folder]/model.safetensors: ", "")
}

/// Says what is wrong with a file of 16 bytes of data that declares these tensors.
fn refusal_of(tensors: &str) -> String {
    refusal(safetensors(format!("{{{tensors}}}"), &[0; 16]))
}

#[test]
fn the_length_of_the_header() {
    let file = two_tensors();
    let with_length = |length: u64| [&length.to_le_bytes(), &file[8..]].concat();
    let messages = [
        refusal(""),
        refusal("1234567"),
        refusal(with_length(1 << 63)),
        refusal(with_length(u64::MAX)),
        refusal(with_length(file.len() as u64)),
        refusal(with_length(0)),
        refusal(with_length(20)),
        refusal(&file[..30]),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r"
    expected 8 bytes with the length of the header, found a file of 0 bytes
    expected 8 bytes with the length of the header, found a file of 7 bytes
    header length: expected at most 166 bytes (the file ends there), found 9223372036854775808
    header length: expected at most 166 bytes (the file ends there), found 18446744073709551615
    header length: expected at most 166 bytes (the file ends there), found 174
    header: column 1: EOF while parsing a value
    header: column 20: key `__metadata__`: EOF while parsing a string
    header length: expected at most 22 bytes (the file ends there), found 144
    ");
}

#[test]
fn the_structure_of_the_header() {
    let messages = [
        refusal(safetensors("[]", &[])),
        refusal(safetensors("{\"a\"}", &[])),
        refusal(safetensors("{} trailing", &[])),
        refusal_of(r#""__metadata__": {"format": 1}"#),
        refusal(safetensors(b"{\"later\": {\"a\": \"\xff\"}}", &[])),
        refusal_of(r#""a": 1"#),
        refusal_of(r#""a": {"shape": [4], "data_offsets": [0, 16]}"#),
        refusal_of(r#""a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}"#),
        refusal_of(r#""a": {"dtype": "F32", "shape": "4", "data_offsets": [0, 16]}"#),
        refusal_of(r#""a": {"dtype": "F32", "shape": [4], "data_offsets": [0]}"#),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r#"
    header: column 1: invalid type: sequence, expected an object with an entry per tensor
    header: column 5: tensor `a`: expected `:`
    header: column 4: trailing characters
    header: column 29: key `__metadata__`: invalid type: integer `1`, expected a string
    header: column 18: invalid UTF-8
    header: column 7: tensor `a`: invalid type: integer `1`, expected struct TensorInfo
    header: column 45: tensor `a`: missing field `dtype`
    header: column 35: tensor `a`: invalid value: integer `-4`, expected usize
    header: column 35: tensor `a`: invalid type: string "4", expected a sequence
    header: column 56: tensor `a`: invalid length 1, expected a tuple of size 2
    "#);
    let message = refusal_of(r#""a": {"dtype": "F33", "shape": [4], "data_offsets": [0, 16]}"#);
    assert!(
        message
            .starts_with("header: column 21: tensor `a`: unknown variant `F33`, expected one of"),
        "{message}"
    );
}

#[test]
fn the_layout_of_the_data() {
    let messages = [
        refusal_of(r#""a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}"#),
        refusal_of(r#""a": {"dtype": "F32", "shape": [5], "data_offsets": [0, 20]}"#),
        refusal_of(r#""a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 16]}"#),
        refusal_of(
            r#""a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 16]}"#,
        ),
        refusal_of(r#""a": {"dtype": "F4", "shape": [3], "data_offsets": [0, 16]}"#),
        refusal_of(
            r#""a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
               "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}"#,
        ),
        refusal_of(
            r#""a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
               "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}"#,
        ),
        refusal_of(r#""a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}"#),
        refusal_of(
            r#""a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
               "a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}"#,
        ),
        // The one that is wrong may not be meant.
        refusal_of(
            r#""a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]},
               "a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}"#,
        ),
        refusal(&two_tensors()[..two_tensors().len() - 1]),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r"
    tensor `a`: data_offsets [16, 0] end before they begin
    tensor `a`: data_offsets end at byte 20, but the file holds 16 bytes of data
    tensor `a`: F32 [2, 3] takes 24 bytes, but data_offsets hold 16
    tensor `a`: F32 [4294967296, 4294967296] does not come to a whole number of bytes below 2^64
    tensor `a`: F4 [3] does not come to a whole number of bytes below 2^64
    tensor `b` begins at byte 8, inside tensor `a`, which ends at byte 12
    data: bytes 4 to 8 belong to no tensor
    data: bytes 12 to 16 belong to no tensor
    header: tensor `a` is declared twice
    header: tensor `a` is declared twice
    tensor `b`: data_offsets end at byte 22, but the file holds 21 bytes of data
    ");
}

#[test]
fn tensors_that_are_not_there_or_not_as_expected() {
    let folder = Folder::new();
    let header = concat!(
        r#"{"transformer.h.0.attn.c_attn.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"#,
        r#""transformer.wte.weight":{"dtype":"F64","shape":[1],"data_offsets":[24,32]},"#,
        r#""ids":{"dtype":"I64","shape":[1],"data_offsets":[32,40]},"#,
        r#""mask":{"dtype":"BOOL","shape":[8],"data_offsets":[40,48]}}"#
    );
    let weights =
        Weights::open(folder.write("model.safetensors", safetensors(header, &[0; 48]))).unwrap();
    let messages = [
        weights
            .resolve(&TensorSource::new(
                ["transformer.wtf.weight", "wtf.weight"],
                [1],
            ))
            .unwrap_err(),
        weights
            .resolve(&TensorSource::new(["lm_head.bias"], [1]))
            .unwrap_err(),
        weights
            .resolve(&TensorSource::new(
                ["transformer.h.0.attn.c_attn.weight"],
                [3, 2],
            ))
            .unwrap_err(),
        weights.read("transformer.wpe.weight").unwrap_err(),
        weights.read("mask").unwrap_err(),
        weights.read_vec::<f32>("ids").unwrap_err(),
        weights.read_f32("transformer.wte.weight").unwrap_err(),
        weights.read_f64("ids").unwrap_err(),
    ]
    .map(|error| folder.said(error));
    insta::assert_snapshot!(messages.join("\n"), @r"
    [folder]/model.safetensors: expected a tensor `transformer.wtf.weight` or `wtf.weight`, found none; did you mean `transformer.wte.weight`?
    [folder]/model.safetensors: expected a tensor `lm_head.bias`, found none
    [folder]/model.safetensors: tensor `transformer.h.0.attn.c_attn.weight`: expected shape [3, 2], found [2, 3]
    [folder]/model.safetensors: expected a tensor `transformer.wpe.weight`, found none; did you mean `transformer.wte.weight`?
    [folder]/model.safetensors: tensor `mask`: expected elements of f64, f32, f16, bf16 or i64, found BOOL
    [folder]/model.safetensors: tensor `ids`: expected elements of f32, found i64
    [folder]/model.safetensors: tensor `transformer.wte.weight`: expected elements of f32, f16 or bf16, found f64
    [folder]/model.safetensors: tensor `ids`: expected elements of f64, f32, f16 or bf16, found i64
    ");
}

#[test]
fn what_is_no_file() {
    let folder = Folder::new();
    let messages = [folder.path().to_owned(), folder.path().join("gone")]
        .map(|path| folder.said(Weights::open(path).unwrap_err()));
    insta::assert_snapshot!(messages.join("\n"), @r"
    [folder]: expected a file, found a folder or a device
    [folder]/gone: cannot open it: No such file or directory (os error 2)
    ");
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_an_error() {
    let folder = Folder::new();
    let file = folder.write("model.safetensors", two_tensors());
    let weights = Weights::open(&file).unwrap();
    folder.write("model.safetensors", &two_tensors()[..100]);
    insta::assert_snapshot!(folder.said(weights.read("a").unwrap_err()), @"[folder]/model.safetensors: cannot read it: failed to fill whole buffer");
}
