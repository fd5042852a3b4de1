#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
use sparse_engine::{Engine, Options};
fn main() {
    let engine = Engine::load(std::env::args().nth(1).unwrap(), Options::default()).unwrap();
    println!("{:?} {}", engine.input_shape(), engine.outputs());
    for l in engine.layers() {
        if l.sparse {
            print!("{} ", l.name);
        }
    }
    let f = sparse_formats::MappedFile::open(std::env::args().nth(2).unwrap()).unwrap();
    println!("{:?}", f.names().collect::<Vec<_>>());
}
