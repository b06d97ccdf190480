//! What the benchmarks and the soak print: times, tables, and what the machine says
//! of itself.

mod machine;
mod sample;
mod table;

pub use machine::{Memory, describe, memory, processor_time};
pub use sample::{Timings, mib, micros, ms, us};
pub use table::Table;
