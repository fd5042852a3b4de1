//! Trains on data of one's own: which quadrant of a noisy 16×16 image is bright?
#![allow(clippy::print_stdout)]
use sparse_trainer::config::{DataKind, PruningMode, TrainConfig};
use sparse_trainer::{Dataset, Datasets, Silent, Start, StopFlag, View, data, plan::TrainPlan, train};

struct Quadrants(usize);

impl Dataset for Quadrants {
    fn len(&self) -> usize {
        self.0
    }
    fn classes(&self) -> usize {
        4
    }
    fn image_shape(&self) -> [usize; 3] {
        [1, 16, 16]
    }
    fn read(&self, index: usize, view: View, image: &mut [f32]) -> data::Result<u32> {
        let (seed, epoch) =
            if let View::Train { seed, epoch } = view { (seed, epoch) } else { (u64::MAX, 0) };
        let (label, mut noise) = (index % 4, data::sample_rng(seed, epoch, index));
        for (position, pixel) in image.iter_mut().enumerate() {
            let is_bright = position / 128 * 2 + position % 16 / 8 == label;
            *pixel = noise.uniform(-0.5, 0.5) as f32 + if is_bright { 0.5 } else { -0.5 };
        }
        Ok(label as u32)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = TrainConfig::defaults(DataKind::Mnist); // Only for its defaults: nothing of MNIST is read.
    (config.model.scale, config.model.num_classes) = (0.25, 4);
    (config.train.batch_size, config.train.num_epochs) = (32, 3);
    (config.prune.pruning_mode, config.prune.ratio) = (PruningMode::Ratio, 0.5);
    config.train.model_path = std::env::temp_dir().join("sparse-train-own-data");
    let datasets = Datasets::new(Quadrants(2000), Quadrants(400));
    let plan = TrainPlan::resolve(&config, &datasets.size())?;
    println!("{:#?}", train(&plan, &datasets, &Start::default(), &StopFlag::default(), &mut Silent)?);
    Ok(())
}
