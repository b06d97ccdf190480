//! `log`: log lines for the operator. The only import that is not counted.

use kenning_bindings::kenning::knowledge::log;
use wasmtime::Result;

use crate::state::State;
use crate::wit::Level;

impl log::Host for State {
    async fn log(&mut self, level: Level, message: String) -> Result<()> {
        // Not counted among `host_calls`: what is over `log_lines` is dropped and ends no call.
        self.log.write_line(level, &message);
        Ok(())
    }
}
