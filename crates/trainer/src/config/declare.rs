//! The two macros in which settings are declared: a section with its keys, and an enum with its names.

/// Declares a section once. From it follow the struct, its defaults and the table `KEYS`.
///
/// A key is its doc comment, whose first paragraph is also its line in `--help` and `docs/keys.md`, then
/// `name: Type = default,` and what [`Key`](super::Key) has to say of it: its values, unit, flag, and where it counts.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $Section:ident: $section:literal, with the defaults for $data:pat => {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($($serde:tt)*)])?
                $name:ident: $Type:ty = $default:expr, $key:expr;
            )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $Section {
            $(
                $(#[doc = $doc])+
                $(#[serde($($serde)*)])?
                pub $name: $Type,
            )+
        }

        pub(super) const KEYS: &[$crate::config::Key] =
            &[$($key.declared($section, stringify!($name), concat!($($doc, "\n"),+))),+];

        impl $Section {
            /// The defaults for one data set.
            #[must_use]
            pub fn defaults($data: $crate::config::DataKind) -> Self {
                Self { $($name: $default),+ }
            }
        }

        impl Default for $Section {
            /// The defaults for MNIST.
            fn default() -> Self {
                Self::defaults($crate::config::DataKind::Mnist)
            }
        }
    };
}

/// Declares an enum whose values have names in configs; `"name" | "other"` is also read under its other name.
macro_rules! choices {
    (
        $(#[$meta:meta])*
        pub enum $Enum:ident {
            $(
                $(#[$variant_meta:meta])*
                $Variant:ident = $name:literal $(| $alias:literal)*,
            )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $Enum {
            $(
                $(#[$variant_meta])*
                #[serde(rename = $name $(, alias = $alias)*)]
                $Variant,
            )+
        }

        impl $Enum {
            /// The names that a config may give.
            pub(super) const VALUES: $crate::config::Values =
                $crate::config::Values::Names { names: &[$($name),+], also: &[$($($alias,)*)+] };

            /// Its name in configs.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$Variant => $name,)+
                }
            }
        }
    };
}

pub(super) use {choices, settings};
