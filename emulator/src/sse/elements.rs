//! Lanes as rows of integers.

use super::operand::Lane;

macro_rules! elements {
    ($map:ident, $get:ident, $make:ident, $integer:ty, $count:literal) => {
        /// Splits a lane.
        pub(crate) fn $get(lane: Lane) -> [$integer; $count] {
            let mut elements = [0; $count];
            for (element, bytes) in elements.iter_mut().zip(lane.as_chunks().0) {
                *element = <$integer>::from_le_bytes(*bytes);
            }
            elements
        }

        /// Makes a lane.
        pub(crate) fn $make(elements: [$integer; $count]) -> Lane {
            let mut lane = [0; 16];
            for (bytes, element) in lane.as_chunks_mut().0.iter_mut().zip(elements) {
                *bytes = element.to_le_bytes();
            }
            lane
        }

        /// Applies an operation to each pair of elements.
        pub(crate) fn $map(
            a: Lane,
            b: Lane,
            operation: impl Fn($integer, $integer) -> $integer,
        ) -> Lane {
            let mut elements = $get(a);
            for (element, other) in elements.iter_mut().zip($get(b)) {
                *element = operation(*element, other);
            }
            $make(elements)
        }
    };
}

elements!(map8, get8, make8, u8, 16);
elements!(map16, get16, make16, u16, 8);
elements!(map32, get32, make32, u32, 4);
elements!(map64, get64, make64, u64, 2);

macro_rules! signed {
    ($map:ident, $unsigned:ident, $integer:ty) => {
        /// The same on signed elements.
        pub(crate) fn $map(
            a: Lane,
            b: Lane,
            operation: impl Fn($integer, $integer) -> $integer,
        ) -> Lane {
            $unsigned(a, b, |x, y| {
                operation(x.cast_signed(), y.cast_signed()).cast_unsigned()
            })
        }
    };
}

signed!(map_i8, map8, i8);
signed!(map_i16, map16, i16);
signed!(map_i32, map32, i32);
signed!(map_i64, map64, i64);
