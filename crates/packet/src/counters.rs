//! Structs of counters that know their own names and meanings, so that a listing or a page about them cannot miss one.

/// Defines a struct of `u64` counters. What its fields' doc comments say is what [`MEANINGS`](crate::DeviceCounters::MEANINGS)
/// says.
///
/// ```
/// sunstar_packet::counters! {
///     /// What a gate counted.
///     #[derive(Default)]
///     pub struct Gate {
///         /// Cars let in.
///         opened,
///         /// Cars sent
///         /// away.
///         refused,
///     }
/// }
/// let gate = Gate { opened: 3, refused: 1 };
/// assert_eq!(gate.iter().collect::<Vec<_>>(), [("opened", 3), ("refused", 1)]);
/// assert_eq!(gate.total(), 4);
/// assert_eq!(Gate::MEANINGS[1], ("refused", "Cars sent away."));
/// ```
#[macro_export]
macro_rules! counters {
    ($(#[$outer:meta])* pub struct $name:ident { $($(#[doc = $doc:literal])+ $field:ident,)+ }) => {
        $(#[$outer])*
        pub struct $name { $($(#[doc = $doc])+ pub $field: u64,)+ }

        impl $name {
            /// Every counter's name, and what it counts.
            pub const MEANINGS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($field), concat!($($doc),+).trim_ascii()),)+];

            /// Every counter with its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field)),+].into_iter()
            }

            /// All counters together.
            pub fn total(&self) -> u64 {
                self.iter().map(|(_, count)| count).sum()
            }
        }
    };
}
