//! `log`: log lines for the operator.

use kenning_bindings::kenning::knowledge::log;
use wasmtime::Result;

use crate::state::State;
use crate::wit::Level;

impl log::Host for State {
    async fn log(&mut self, level: Level, message: String) -> Result<()> {
        self.enter()?;
        self.log.write_line(level, &message);
        Ok(())
    }
}
