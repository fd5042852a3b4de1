//! Reads an ONNX file, tells what it holds, and writes it again: `onnx_copy IN.onnx [OUT.onnx [sparse]]`.

use sparse_engine::onnx::{ReadOptions, WriteOptions, read_file, write};
use sparse_engine::shapes;
use std::error::Error;
use std::io::Write;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, rest @ ..] = arguments.as_slice() else { return Err("name a file".into()) };
    let graph = read_file(from, &ReadOptions::default()).map_err(|error| error.to_string())?;
    let shapes = shapes(&graph)?;
    writeln!(
        std::io::stdout(),
        "{from}: {} nodes, {} to {}",
        graph.nodes.len(),
        shapes[0],
        shapes[graph.output]
    )?;
    if let [to, rest @ ..] = rest {
        let options = WriteOptions { sparse_initializer: !rest.is_empty(), metadata: vec![] };
        sparse_formats::atomic::write_file(to, &write(&graph, &options)?)?;
    }
    Ok(())
}
