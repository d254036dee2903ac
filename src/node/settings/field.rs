//! Between a row's [`Value`] and a typed field of `Settings`.
//!
//! A value whose kind does not fit its field is a mistake in the table, so it panics; a test
//! puts the extremes of every row through its field.

use super::kind::{BufferLimits, Master, SaveRule, Value};
use super::{Secret, Settings};
use crate::base::settings::value::Cores;

/// Where a row's value lives.
#[derive(Clone, Copy, Debug)]
pub enum Home {
    /// In a typed field, for code to use.
    Field { get: fn(&Settings) -> Value, set: fn(&mut Settings, Value) },
    /// Only for `CONFIG GET` to give back.
    Kept,
}

/// A type that a field may have.
pub trait Held {
    fn to_value(&self) -> Value;
    fn hold(&mut self, value: Value);
}

/// The [`Home`] of the field with this name.
macro_rules! field {
    ($name:ident) => {
        Home::Field {
            get: |settings| Held::to_value(&settings.$name),
            set: |settings, value| Held::hold(&mut settings.$name, value),
        }
    };
}
pub(super) use field;

/// An enum of which each variant has a name in the configuration.
macro_rules! choices {
    ($(#[$doc:meta])* $type:ident { $first:ident = $first_name:literal, $($variant:ident = $name:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $type { #[default] $first, $($variant),* }

        impl $type {
            pub(super) const NAMES: &'static [&'static str] = &[$first_name, $($name),*];
        }

        impl $crate::node::settings::field::Held for $type {
            fn to_value(&self) -> Value {
                Value::Choice(match self { Self::$first => $first_name, $(Self::$variant => $name),* })
            }
            fn hold(&mut self, value: Value) {
                *self = match value {
                    Value::Choice($first_name) => Self::$first,
                    $(Value::Choice($name) => Self::$variant,)*
                    other => unreachable!("{other:?} for a {}", stringify!($type)),
                };
            }
        }
    };
}
pub(super) use choices;

macro_rules! held {
    ($type:ty, $this:ident => $to:expr, $pattern:pat => $from:expr) => {
        impl Held for $type {
            fn to_value(&self) -> Value {
                let $this = self;
                $to
            }
            fn hold(&mut self, value: Value) {
                *self = match value {
                    $pattern => $from,
                    other => unreachable!("{other:?} for a field of another kind"),
                };
            }
        }
    };
}

held!(bool, it => Value::Bool(*it), Value::Bool(it) => it);
held!(u16, it => Value::Int(i64::from(*it)), Value::Int(it) => narrow(it));
held!(u32, it => Value::Int(i64::from(*it)), Value::Int(it) => narrow(it));
held!(i64, it => Value::Int(*it), Value::Int(it) => it);
held!(u64, it => Value::Memory(*it), Value::Memory(it) => it);
held!(Vec<u8>, it => Value::Text(it.clone()), Value::Text(it) => it);
held!(Secret, it => Value::Text(it.0.clone()), Value::Text(it) => Secret(it));
held!(Vec<Vec<u8>>, it => Value::Words(it.clone()), Value::Words(it) => it);
held!(Vec<SaveRule>, it => Value::Save(it.clone()), Value::Save(it) => it);
held!(BufferLimits, it => Value::Buffers(*it), Value::Buffers(it) => it);
held!(Option<Master>, it => Value::Master(it.clone()), Value::Master(it) => it);
held!(Cores, it => Value::Cores(it.clone()), Value::Cores(it) => it);

fn narrow<T: TryFrom<i64>>(int: i64) -> T {
    T::try_from(int).unwrap_or_else(|_| unreachable!("{int} in a row wider than its field"))
}
