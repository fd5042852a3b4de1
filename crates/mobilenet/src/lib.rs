//! MobileNetV1 on candle: layer table, initialisation, canonical names.
