//! Names, shapes and initial values of the model's parameters against the original's.

#![allow(clippy::unwrap_used, clippy::panic)]

mod golden {
    use candle_core::{DType, Device};
    use serde_json::Value;
    use sparse_model::{Initial, Model, NetworkConfig, Parameter, parameters};
    use sparse_prune::{Mode, ParamsType, Pruner, PrunerConfig};
    use sparse_tests::golden_json;
    use std::collections::BTreeSet;

    /// A row is an object, or in short form an array of name and shape.
    fn field<'a>(row: &'a Value, key: &str, index: usize) -> &'a Value {
        if row.is_array() { &row[index] } else { &row[key] }
    }

    fn name(row: &Value) -> &str {
        field(row, "name", 0).as_str().unwrap()
    }

    fn shape(row: &Value) -> Vec<usize> {
        let sizes = field(row, "shape", 1).as_array().unwrap();
        sizes.iter().map(|size| size.as_u64().unwrap() as usize).collect()
    }

    /// The configuration that a list of parameters was taken from.
    fn config_of(rows: &[Value]) -> NetworkConfig {
        let stem = shape(&rows[0]);
        let classes = shape(rows.last().unwrap())[0];
        NetworkConfig::mobilenet(stem[0] as f64 / 32.0, stem[1], classes)
    }

    fn each_network(check: impl Fn(&str, &Value, NetworkConfig)) {
        let networks = golden_json("static_mobilenet_params.json");
        let mut seen = 0;
        for (name, network) in networks.as_object().unwrap() {
            let Some(rows) = network["rows"].as_array() else { continue };
            check(name, network, config_of(rows));
            seen += 1;
        }
        assert!(seen > 0);
    }

    #[test]
    fn names_shapes_and_counts() {
        each_network(|network, golden, config| {
            let ours = parameters(&config).unwrap();
            let rows = golden["rows"].as_array().unwrap();
            assert_eq!(ours.len(), rows.len(), "{network}");
            for (parameter, row) in ours.iter().zip(rows) {
                assert_eq!(parameter.name, name(row), "{network}");
                assert_eq!(parameter.shape, shape(row), "{network} {}", parameter.name);
                if let Some(trainable) = row.get("trainable").and_then(Value::as_bool) {
                    assert_eq!(parameter.trainable, trainable, "{network} {}", parameter.name);
                }
            }
            let count = |parameters: &[&Parameter]| -> u64 {
                parameters.iter().map(|p| p.shape.iter().product::<usize>() as u64).sum()
            };
            assert_eq!(
                count(&ours.iter().collect::<Vec<_>>()),
                golden["total_elems"].as_u64().unwrap(),
                "{network}"
            );
            let trainable: Vec<&Parameter> = ours.iter().filter(|p| p.trainable).collect();
            assert_eq!(count(&trainable), golden["trainable"].as_u64().unwrap(), "{network}");
        });
    }

    #[test]
    fn initial_values() {
        each_network(|network, golden, config| {
            for (parameter, row) in
                parameters(&config).unwrap().iter().zip(golden["rows"].as_array().unwrap())
            {
                if let Some(golden) = row.get("init") {
                    check_initial(network, parameter, golden);
                }
            }
            let model = Model::new(config, 3, DType::F32, &Device::Cpu).unwrap();
            for parameter in parameters(&config).unwrap() {
                let Initial::Uniform { bound } = parameter.initial else { continue };
                let tensor = model.variables()[&parameter.name].as_tensor().flatten_all().unwrap();
                let values = tensor.to_vec1::<f32>().unwrap();
                let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                assert!(f64::from(largest) <= bound * 1.000_001, "{network} {}", parameter.name);
                let variance =
                    values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64;
                let expected = bound * bound / 3.0;
                let spread = 6.0 * expected / (values.len() as f64).sqrt();
                assert!(
                    (variance - expected).abs() < spread,
                    "{network} {}: variance {variance}",
                    parameter.name
                );
            }
        });
    }

    fn check_initial(network: &str, parameter: &Parameter, golden: &Value) {
        let name = &parameter.name;
        match (golden[0].as_str().unwrap(), parameter.initial) {
            ("uniform_random", Initial::Uniform { bound }) => {
                let expected = golden[1]["max"].as_f64().unwrap();
                assert!((bound - expected).abs() < 1e-6 * expected, "{network} {name}: {bound} {expected}");
                assert_eq!(golden[1]["min"].as_f64().unwrap(), -expected);
            }
            ("fill_constant", Initial::Constant(value)) => {
                assert_eq!(value, golden[1]["value"].as_f64().unwrap(), "{network} {name}");
            }
            (other, ours) => panic!("{network} {name}: {other} there, {ours:?} here"),
        }
    }

    #[test]
    fn prunable_parameters() {
        each_network(|network, golden, config| {
            let model = Model::new(config, 0, DType::F32, &Device::Cpu).unwrap();
            for (key, params_type) in
                [("prunable_names_none", ParamsType::All), ("prunable_names_c1", ParamsType::Conv1x1Only)]
            {
                let names =
                    golden[key].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
                let config = PrunerConfig { params_type, ..PrunerConfig::new(Mode::Ratio(0.5)) };
                let pruner = Pruner::new(&model.var_map(), config).unwrap();
                let ours: BTreeSet<String> = pruner.masks().keys().cloned().collect();
                assert_eq!(ours, names.collect(), "{network} {key}");
            }
        });
    }
}
