//! Virtqueues: a driver that writes what it likes where it likes, and a device that keeps to its rules, or not.

mod machine;

use self::machine::Machine;

/// Operations of one input at most.
const MAX_STEPS: usize = 512;

const NEXT: u8 = 1;
const WRITE: u8 = 2;
const INDIRECT: u8 = 4;

/// A module with an entry point and its seeds.
macro_rules! queue {
    ($(#[doc = $what:literal] $name:ident = $packed:literal;)*) => {
        $(#[doc = $what]
        pub mod $name {
            /// The entry point; its input is size, features and a list of operations.
            ///
            /// # Panics
            /// When the queue does, gives a chain that is none, gives a buffer twice, or writes where it must not.
            pub fn target(data: &[u8]) {
                super::run(data, $packed);
            }

            /// Inputs in which buffers come and go.
            #[must_use]
            pub fn seeds() -> Vec<Vec<u8>> {
                super::seeds()
            }
        })*
    };
}

queue! {
    /// The split ring.
    split_queue = false;
    /// The packed ring.
    packed_queue = true;
}

/// Bytes of an input, zeroes behind its end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }
}

fn run(data: &[u8], packed: bool) {
    let mut input = Input(data);
    let [size, features] = input.array();
    let mut machine = Machine::new(size, features, packed);
    for _ in 0..MAX_STEPS {
        if input.0.is_empty() {
            break;
        }
        machine.step(&mut input);
    }
    machine.check_memory();
}

fn seeds() -> Vec<Vec<u8>> {
    let one = |flags, id| vec![0, 0x42, flags, id];
    let there_and_back: Vec<u8> = (0..20)
        .flat_map(|round| {
            [one(0, round), one(WRITE, round + 100)]
                .concat()
                .into_iter()
                .chain([7, 7, 10, 1, 9, 10, 0, 3, 13, 15, 2, 14, 1])
        })
        .collect();
    let tables: Vec<u8> = [
        vec![3, 0, 0x82, NEXT, 1, 3, 1, 0x82, WRITE, 0],
        vec![0, 0x20, INDIRECT, 0, 0, 0x20, INDIRECT, 1],
        vec![7, 7, 12, 7, 10, 0, 1, 13],
    ]
    .concat();
    let chains: Vec<u8> = (1..8).flat_map(|next| one(NEXT, next)).collect();
    let mut seeds = Vec::new();
    for features in 0..8 {
        for operations in [&there_and_back, &tables] {
            seeds.push([&[3, features], operations.as_slice()].concat());
        }
    }
    seeds.push([&[3, 0], chains.as_slice(), &one(0, 0), &[7, 10, 0, 0, 13]].concat());
    seeds.push([&[3, 0], chains.as_slice(), &one(NEXT, 0), &[7]].concat());
    seeds
}
