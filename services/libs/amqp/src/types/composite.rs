//! Composite values of the standard, each declared as one table of its fields.

/// Declares a composite value: code, struct and fields in their order, from which reading and writing follow. Every field
/// is written, nulls at the end included (amqp R1). `= value` is what null stands for in a field that is no `Option`.
macro_rules! composite {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident$(<$life:lifetime>)?: $code:expr, {
            $($(#[$field_meta:meta])* pub $field:ident: $type:ty $(= $default:expr)?,)*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name$(<$life>)? {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl<'a> $name$(<$life>)? {
            pub(crate) const CODE: u8 = $code;

            /// The fields, behind the descriptor.
            pub(crate) fn decode_fields(
                decoder: &mut $crate::types::Decoder<'a>,
            ) -> Result<Self, $crate::types::Malformed> {
                let mut fields = decoder.fields()?;
                Ok(Self {
                    $($field: match fields.next(stringify!($field))? {
                        Some(value) => value,
                        None => $crate::types::composite!(@absent $type, stringify!($field) $(, $default)?),
                    },)*
                })
            }
        }

        impl<'a> $crate::types::Field<'a> for $name$(<$life>)? {
            fn decode(
                decoder: &mut $crate::types::Decoder<'a>,
                _: &'static str,
            ) -> Result<Self, $crate::types::Malformed> {
                match decoder.expect_descriptor()?.code() {
                    Some(code) if code == u64::from(Self::CODE) => Self::decode_fields(decoder),
                    found => Err($crate::types::Malformed::NotDescribedAs { expected: stringify!($name), found }),
                }
            }

            fn encode(&self, out: &mut Vec<u8>) {
                $crate::types::put_composite(Self::CODE, out, |list| {
                    $(list.item_with(|out| $crate::types::Field::encode(&self.$field, out));)*
                });
            }
        }
    )*};
    (@absent $type:ty, $name:expr, $default:expr) => { $default };
    (@absent $type:ty, $name:expr) => { <$type as $crate::types::Field>::absent($name)? };
}

/// Declares an enumeration that is a number (or, for `role`, a boolean) on the wire.
macro_rules! simple_enum {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident: $type:ty { $($(#[$variant_meta:meta])* $variant:ident = $value:literal,)* }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_meta])* $variant,)* }

        impl $crate::types::Field<'_> for $name {
            fn decode(
                decoder: &mut $crate::types::Decoder<'_>,
                name: &'static str,
            ) -> Result<Self, $crate::types::Malformed> {
                match <$type as $crate::types::Field>::decode(decoder, name)? {
                    $($value => Ok(Self::$variant),)*
                    #[allow(unreachable_patterns, reason = "a boolean has no third value")]
                    _ => Err($crate::types::Malformed::Field(name)),
                }
            }

            fn encode(&self, out: &mut Vec<u8>) {
                let value: $type = match self { $(Self::$variant => $value,)* };
                $crate::types::Field::encode(&value, out);
            }
        }
    )*};
}

pub(crate) use {composite, simple_enum};
