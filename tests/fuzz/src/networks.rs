//! ONNX files: a network that is read, written and read again gives the same scores.

use sparse_engine::graph::Graph;
use sparse_engine::onnx::{WriteOptions, read, write};
use sparse_engine::{Engine, Options, Products};

/// Numbers of an input, and of all weights: more only slow the search.
const MOST_NUMBERS: usize = 1 << 14;

/// An ONNX file.
pub(crate) fn onnx(bytes: &[u8]) {
    let Ok(graph) = read(bytes) else { return };
    if bytes.len() > 1 << 16 {
        return;
    }
    let Some(scores) = scores(graph.clone(), Products::Dense) else { return };
    assert_same(&scores, scores_of(&graph, Products::Sparse).as_deref(), "zeros left out");
    let Ok(written) = write(&graph, &WriteOptions::default()) else { return };
    let again = read(&written).expect("what was written is read");
    assert_same(&scores, scores_of(&again, Products::Dense).as_deref(), "written and read");
}

fn scores_of(graph: &Graph, products: Products) -> Option<Vec<f32>> {
    scores(graph.clone(), products)
}

/// Scores of one image, if the network is small and can be computed.
fn scores(graph: Graph, products: Products) -> Option<Vec<f32>> {
    let shapes = sparse_engine::shapes(&graph).ok()?;
    let numbers = shapes.iter().map(|shape| shape.count()).fold(0_usize, usize::saturating_add);
    if numbers > MOST_NUMBERS {
        return None;
    }
    let engine = Engine::new(graph, Options { threads: 1, products, ..Options::default() }).ok()?;
    let image: Vec<f32> =
        (0..engine.input_shape().iter().product()).map(|n: usize| (n % 17) as f32 / 8.0 - 1.0).collect();
    let mut scores = vec![0.0; engine.outputs()];
    engine.session().expect("a session").run(&image, &mut scores).expect("a run");
    Some(scores)
}

/// Equal up to rounding; where a number is none, sums have overflowed and nothing is compared.
fn assert_same(expected: &[f32], found: Option<&[f32]>, what: &str) {
    let found = found.unwrap_or_else(|| panic!("{what}: cannot be computed any more"));
    assert_eq!(expected.len(), found.len(), "{what}");
    if expected.iter().chain(found).any(|score| !score.is_finite()) {
        return;
    }
    let largest = expected.iter().fold(1e-3_f32, |largest, score| largest.max(score.abs()));
    for (a, b) in expected.iter().zip(found) {
        assert!((a - b).abs() <= 1e-3 * largest, "{what}: {a} became {b}");
    }
}
