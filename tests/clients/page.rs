//! A page that a reader types from: its blocks, as a script that does what the reader does.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// A block of code in a page.
pub(super) struct Block {
    /// What stands behind the fence: `sh`, `text`, or a language and the file to save it as.
    pub(super) info: String,
    pub(super) text: String,
}

impl Block {
    /// The file that the reader saves this block as.
    fn file(&self) -> Option<&str> {
        self.info.split_once(' ').map(|(_, file)| file)
    }
}

/// The blocks of a page, in their order.
pub(super) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let text: String = lines
            .by_ref()
            .take_while(|line| *line != "```")
            .map(|line| format!("{line}\n"))
            .collect();
        blocks.push(Block { info: info.to_owned(), text });
    }
    blocks
}

/// A script that saves the blocks with a file's name and runs those in `sh`, and notes what each
/// prints in `outputs`.
pub(super) fn script(blocks: &[Block], outputs: &Path) -> Result<String> {
    let mut script = "set -euo pipefail\n".to_owned();
    for (number, block) in blocks.iter().enumerate() {
        if let Some(file) = block.file() {
            let end = format!("END-OF-{number}");
            ensure!(!block.text.contains(&end), "{file} holds {end}");
            script += &format!("cat > {file} <<'{end}'\n{}{end}\n", block.text);
        } else if block.info == "sh" {
            let output = outputs.join(number.to_string());
            script += &format!("{{\n{}}} > '{}'\n", block.text, output.display());
        }
    }
    Ok(script)
}

/// Compares each block of `text` with what the commands before it printed. How many there are.
pub(super) fn compare(blocks: &[Block], outputs: &Path) -> Result<usize> {
    let mut compared = 0;
    for (number, block) in blocks.iter().enumerate().filter(|(_, block)| block.info == "text") {
        let before = number.checked_sub(1).context("a page begins with output")?;
        let printed = fs::read_to_string(outputs.join(before.to_string()))?;
        ensure!(
            printed == block.text,
            "the page says:\n{}\nand this was printed:\n{printed}",
            block.text
        );
        compared += 1;
    }
    Ok(compared)
}
