//! Loss and gradients of the layer chain.

use crate::model::{Conv, ConvOutput, DETACHED};
use crate::{ConvKind, HEAD_BIAS, HEAD_WEIGHT, MobileNet, Mode, Result};
use candle_core::{DType, Tensor};
use sparse_ops::backward::{
    batch_norm_relu_gradients, conv3x3_weight_gradient, cross_entropy_gradient, depthwise3x3_input_gradient,
    depthwise3x3_weight_gradient, global_mean_pool_gradient, linear_gradients, pointwise_input_gradient,
    pointwise_weight_gradient,
};
use sparse_ops::{batch_innermost, cross_entropy, global_mean_pool, linear};
use std::collections::BTreeMap;

/// Loss and scores of a batch, with what the backward pass needs.
pub struct TrainPass<'a> {
    /// Mean loss of the batch.
    pub loss: f64,
    /// Class scores, `[N, classes]`.
    pub logits: Tensor,
    model: &'a MobileNet,
    labels: &'a [u32],
    label_smoothing: f64,
    features: Tensor,
    /// Input and output of each convolution, in order.
    trace: Vec<(Tensor, ConvOutput)>,
}

impl MobileNet {
    /// The forward pass of a training step; running statistics are updated.
    ///
    /// Shapes: `images: [N, C, H, W]` with H, W ≥ 16, `labels: [N]`. `label_smoothing` is a fraction, 0 = off.
    ///
    /// # Errors
    /// [`crate::Error::Images`] if the images do not fit, or candle's.
    pub fn train_pass<'a>(
        &'a self,
        images: &Tensor,
        labels: &'a [u32],
        label_smoothing: f64,
    ) -> Result<TrainPass<'a>> {
        self.check_images(images)?;
        let mut trace = Vec::with_capacity(self.convolutions.len());
        let mut x = batch_innermost(images)?;
        for convolution in &self.convolutions {
            let output = convolution.forward(&x, self.batch_norm, Mode::Train, DETACHED)?;
            let z = output.z.clone();
            trace.push((std::mem::replace(&mut x, z), output));
        }
        let features = global_mean_pool(&x)?;
        let logits = linear(&features, &DETACHED(&self.head_weight), &DETACHED(&self.head_bias))?;
        let loss = cross_entropy(&logits, labels, label_smoothing)?.to_dtype(DType::F64)?.to_scalar()?;
        Ok(TrainPass { loss, logits, model: self, labels, label_smoothing, features, trace })
    }
}

impl TrainPass<'_> {
    /// The gradient of the loss to every trainable variable, by name.
    ///
    /// # Errors
    /// Candle's.
    pub fn gradients(mut self) -> Result<BTreeMap<String, Tensor>> {
        let mut gradients = BTreeMap::new();
        let dlogits = cross_entropy_gradient(&self.logits, self.labels, self.label_smoothing)?;
        let [dfeatures, dweight, dbias] =
            linear_gradients(&self.features, &DETACHED(&self.model.head_weight), &dlogits)?;
        gradients.insert(HEAD_WEIGHT.to_owned(), dweight);
        gradients.insert(HEAD_BIAS.to_owned(), dbias);
        let mut dz = None;
        for convolution in self.model.convolutions.iter().rev() {
            let Some((x, output)) = self.trace.pop() else { break };
            let gradient = match dz {
                Some(gradient) => gradient,
                None => global_mean_pool_gradient(&dfeatures, dims(&output.z)?)?,
            };
            dz = convolution.backward(
                &x,
                &output,
                &gradient,
                self.model.batch_norm.epsilon,
                &mut gradients,
            )?;
        }
        Ok(gradients)
    }
}

impl Conv {
    /// Adds the gradients of this layer's variables and gives the gradient to its input; none for the stem.
    fn backward(
        &self,
        x: &Tensor,
        output: &ConvOutput,
        dz: &Tensor,
        epsilon: f64,
        gradients: &mut BTreeMap<String, Tensor>,
    ) -> candle_core::Result<Option<Tensor>> {
        let (weight, stride) = (DETACHED(&self.weight), self.layer.stride);
        let ConvOutput { y, statistics, z } = output;
        let [dy, dscale, doffset] =
            batch_norm_relu_gradients([y, z, dz], statistics, &DETACHED(&self.scale), epsilon)?;
        let (dx, dweight) = match self.layer.kind {
            ConvKind::Stem => (None, conv3x3_weight_gradient(x, &dy, stride)?),
            ConvKind::Depthwise => (
                Some(depthwise3x3_input_gradient(&weight, &dy, dims(x)?, stride)?),
                depthwise3x3_weight_gradient(x, &dy, stride)?,
            ),
            ConvKind::Pointwise => {
                (Some(pointwise_input_gradient(&weight, &dy)?), pointwise_weight_gradient(x, &dy)?)
            }
        };
        let name = &self.layer.name;
        gradients.insert(format!("{name}_weights"), dweight);
        gradients.insert(format!("{name}_bn_scale"), dscale);
        gradients.insert(format!("{name}_bn_offset"), doffset);
        Ok(dx)
    }
}

fn dims(activations: &Tensor) -> candle_core::Result<[usize; 4]> {
    let (channels, height, width, batch) = activations.dims4()?;
    Ok([channels, height, width, batch])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MobileNetConfig;
    use candle_core::Device;

    #[test]
    fn loss_and_gradients_equal_those_of_candles_autograd() {
        let config = MobileNetConfig { scale: 0.125, channels: 3, classes: 5 };
        let images = Tensor::randn(0f64, 1.0, (4, 3, 20, 17), &Device::Cpu).unwrap();
        let labels = [0, 4, 2, 2];
        let model = MobileNet::new(config, 1, DType::F64, &Device::Cpu).unwrap();
        let logits = model.forward(&images, Mode::Train).unwrap();
        let loss = cross_entropy(&logits, &labels, 0.1).unwrap();
        let expected = loss.backward().unwrap();
        let pass = model.train_pass(&images, &labels, 0.1).unwrap();
        assert_eq!(pass.loss, loss.to_scalar::<f64>().unwrap());
        let gradients = pass.gradients().unwrap();
        let trainable = model.trainable().unwrap();
        assert!(gradients.keys().eq(trainable.keys()));
        for (name, variable) in trainable {
            let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let expected = values(expected.get(variable.as_tensor()).unwrap());
            assert_eq!(values(&gradients[&name]), expected, "{name}");
        }
    }
}
