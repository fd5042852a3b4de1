#![allow(clippy::unwrap_used, clippy::print_stdout)]
use sparse_engine::{Engine, Options, Products, mobilenet};
use sparse_network::MobileNetConfig;
use std::time::{Duration, Instant};
fn main() {
    let sparsities: Vec<f64> = std::env::args()
        .nth(1)
        .map_or(vec![0.0, 0.75, 0.9], |s| s.split(',').map(|x| x.parse().unwrap()).collect());
    let batches: Vec<usize> = std::env::var("BATCH").map_or(vec![1, 16], |b| vec![b.parse().unwrap()]);
    let mut s = 88172645463325252u64;
    let mut u = move || {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        (s >> 11) as f64 / (1u64 << 53) as f64
    };
    for sp in sparsities {
        let config = MobileNetConfig::new(1.0, 3, 1000);
        let lens: std::collections::HashMap<String, Vec<usize>> =
            sparse_network::parameters(&config).unwrap().into_iter().map(|p| (p.name, p.shape)).collect();
        let mut values = |name: &str| {
            let shape = &lens[name];
            let n: usize = shape.iter().product();
            let mut v: Vec<f32> = (0..n)
                .map(|_| {
                    let (a, b) = (u(), u());
                    ((-2.0 * (1.0 - a).ln()).sqrt() * (b * std::f64::consts::TAU).cos()) as f32
                        * (2.0 / (n / shape[0]) as f32).sqrt()
                })
                .collect();
            if name.ends_with("variance") {
                v.iter_mut().for_each(|x| *x = 1.0);
            }
            if name.ends_with("sep_weights") && sp > 0.0 {
                let mut m: Vec<f32> = v.iter().map(|x| x.abs()).collect();
                let k = (sp * n as f64).round() as usize;
                m.sort_by(f32::total_cmp);
                let cut = m[k];
                v.iter_mut().for_each(|x| {
                    if x.abs() < cut {
                        *x = 0.0
                    }
                });
            }
            Ok(v)
        };
        let graph = mobilenet(&config, [224, 224], &mut values).unwrap();
        let t = Instant::now();
        let engine =
            Engine::new(graph, Options { threads: 2, products: Products::Measured, size: None }).unwrap();
        println!("build {:?}", t.elapsed());
        for products in if std::env::var("SPARSE").is_ok() {
            vec![Products::Sparse]
        } else {
            vec![Products::Dense, Products::Measured]
        } {
            let engine = if products == Products::Measured {
                engine.clone()
            } else {
                engine.with_products(products).unwrap()
            };
            for &batch in &batches {
                let mut session = engine.session().unwrap();
                let x: Vec<f32> =
                    (0..batch * 3 * 224 * 224).map(|i| (i * 37 % 64) as f32 / 32.0 - 1.0).collect();
                let mut y = vec![0.0; batch * 1000];
                let mut ts = vec![];
                let mut times = vec![Duration::ZERO; engine.layers().len()];
                let n = if batch == 1 { std::env::var("N").map_or(150, |n| n.parse().unwrap()) } else { 15 };
                for i in 0..n {
                    let t = Instant::now();
                    session.run(&x, &mut y).unwrap();
                    if i > 4 {
                        ts.push(t.elapsed().as_secs_f64() * 1e3);
                    }
                }
                let m = if batch == 1 { 50 } else { 5 };
                for _ in 0..m {
                    session.run_timed(&x, &mut y, &mut times).unwrap();
                }
                ts.sort_by(f64::total_cmp);
                println!(
                    "sparsity {sp} {products:?} batch {batch}: {:.3} ms/image median {:.3} best",
                    ts[ts.len() / 2] / batch as f64,
                    ts[0] / batch as f64
                );
                if std::env::var("LAYERS").is_ok() {
                    for (l, t) in engine.layers().iter().zip(&times) {
                        let done = 2.0 * (l.macs - if l.sparse { l.zero_macs } else { 0.0 });
                        let us = t.as_secs_f64() * 1e6
                            / m as f64
                            / if batch == 1 { 1.0 } else { (batch / 2) as f64 };
                        println!(
                            "  {:14} {:20} {} {:8.1} us {:6.1} GFLOP/s",
                            l.name,
                            l.kind,
                            if l.sparse { "sparse" } else { "dense " },
                            us,
                            done / us / 1e3
                        );
                    }
                }
            }
        }
    }
}
