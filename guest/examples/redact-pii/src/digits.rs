//! Long numbers written as groups of digits.

/// A number written as groups of digits with separators in between.
pub(crate) struct Number {
    digits: Vec<u8>,
    groups: Vec<Group>,
}

#[derive(Clone, Copy)]
pub(crate) struct Group {
    /// Number of digits.
    pub(crate) digits: usize,
    /// Where it ends, in bytes of the text.
    end: usize,
}

/// The leading groups of a number.
pub(crate) struct Prefix<'a> {
    pub(crate) digits: &'a [u8],
    pub(crate) groups: &'a [Group],
    /// Where the last group ends, in bytes of the text.
    pub(crate) end: usize,
}

impl Number {
    /// Parses the number at the start of `text`, with at most `most` digits and at most `gap`
    /// of the `separators` between two groups.
    pub(crate) fn at_start(text: &str, most: usize, separators: &str, gap: usize) -> Self {
        let mut number = Self { digits: Vec::new(), groups: Vec::new() };
        let mut separated = 0;
        for (at, letter) in text.char_indices() {
            match letter.to_digit(10) {
                Some(digit) if number.digits.len() < most => {
                    number.push(digit as u8, at + 1, separated > 0);
                    separated = 0;
                }
                None if separated < gap && separators.contains(letter) => separated += 1,
                _ => {
                    // The last digits belong to a word and are not a group of the number.
                    if separated == 0 && letter.is_alphanumeric() {
                        number.drop_last();
                    }
                    break;
                }
            }
        }
        number
    }

    fn push(&mut self, digit: u8, end: usize, begins_group: bool) {
        self.digits.push(digit);
        match self.groups.last_mut().filter(|_| !begins_group) {
            Some(group) => *group = Group { digits: group.digits + 1, end },
            None => self.groups.push(Group { digits: 1, end }),
        }
    }

    fn drop_last(&mut self) {
        let dropped = self.groups.pop().map_or(0, |group| group.digits);
        self.digits.truncate(self.digits.len() - dropped);
    }

    /// All groups, then all but the last, and so on.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = Prefix<'_>> {
        let mut digits = self.digits.len();
        (1..=self.groups.len()).rev().map(move |count| {
            let groups = &self.groups[..count];
            let prefix =
                Prefix { digits: &self.digits[..digits], groups, end: groups[count - 1].end };
            digits -= groups[count - 1].digits;
            prefix
        })
    }
}

/// Whether the last digit is a valid Luhn check digit, as on every payment card.
pub(crate) fn is_luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let weighted = digits.iter().rev().enumerate().map(|(place, digit)| match place % 2 {
        0 => *digit,
        _ => doubled(*digit),
    });
    weighted.map(u32::from).sum::<u32>().is_multiple_of(10)
}
