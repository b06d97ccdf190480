//! Splitting a text into overlapping parts at sentence ends.

/// Splits `text` into parts of at most `size` bytes. Each starts with the last sentences of
/// the previous part, of at most `overlap` bytes.
pub(crate) fn split(text: &str, size: usize, overlap: usize) -> Vec<&str> {
    let pieces = pieces(text, size);
    let mut parts = Vec::new();
    let mut first = 0;
    while first < pieces.len() {
        let begin = pieces[first].0;
        let fits = |end: usize| end - begin <= size;
        let after = (first + 1..pieces.len()).find(|next| !fits(pieces[*next].1));
        let after = after.unwrap_or(pieces.len());
        let end = pieces[after - 1].1;
        parts.push(text[begin..end].trim());
        if after == pieces.len() {
            break;
        }
        // Go back by whole sentences, but always start after the start of this part.
        let again = (first + 1..after).find(|piece| end - pieces[*piece].0 <= overlap);
        first = again.unwrap_or(after);
    }
    parts
}

/// The byte ranges of sentences, in order. A sentence longer than `size` is cut into
/// several ranges.
fn pieces(text: &str, size: usize) -> Vec<(usize, usize)> {
    let mut pieces = Vec::new();
    let mut begin = 0;
    for end in sentence_ends(text) {
        while end - begin > size {
            let cut = cut_within(text, begin, size);
            pieces.push((begin, cut));
            begin = cut;
        }
        pieces.push((begin, end));
        begin = end;
    }
    pieces.retain(|(begin, end)| !text[*begin..*end].trim().is_empty());
    pieces
}

/// The byte positions where sentences end: after `.`, `!`, `?` or `…` before white space,
/// after their full-width forms, at an empty line, and at the end of the text.
fn sentence_ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let after = at + letter.len_utf8();
        let next = letters.peek().map(|(_, next)| *next);
        let ends_here = match letter {
            '.' | '!' | '?' | '…' => next.is_none_or(char::is_whitespace),
            '。' | '！' | '？' => true,
            '\n' => next == Some('\n'),
            _ => false,
        };
        if ends_here {
            ends.push(after);
        }
    }
    if ends.last() != Some(&text.len()) {
        ends.push(text.len());
    }
    ends
}

/// The position of the last white space within `size` bytes, or else of the last character
/// boundary.
fn cut_within(text: &str, begin: usize, size: usize) -> usize {
    let most = text.floor_char_boundary(begin + size);
    let space = text[begin..most].rfind(char::is_whitespace).filter(|at| *at > 0);
    space.map_or(most, |at| begin + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_consist_of_whole_sentences_and_overlap() {
        let text = "One is here. Two is here. Three is here. Four is here.";
        let parts = split(text, 30, 14);
        assert_eq!(
            parts,
            ["One is here. Two is here.", "Two is here. Three is here.", "Four is here."]
        );
        assert_eq!(
            split(text, 30, 0),
            ["One is here. Two is here.", "Three is here. Four is here."]
        );
    }

    #[test]
    fn a_dot_inside_a_word_does_not_end_a_sentence() {
        assert_eq!(sentence_ends("v1.2 is out. See a.b!"), [12, 21]);
        assert_eq!(sentence_ends("だ。ね？"), [6, 12]);
        assert_eq!(sentence_ends("a\n\nb"), [2, 4]);
        assert_eq!(sentence_ends(""), [0]);
    }

    #[test]
    fn a_long_sentence_is_cut_at_a_space_or_else_between_characters() {
        assert_eq!(split("aaa bbb ccc", 8, 0), ["aaa bbb", "ccc"]);
        assert_eq!(split("äääääää", 5, 0), ["ää", "ää", "ää", "ä"]);
    }

    #[test]
    fn parts_are_short_enough_and_in_order() {
        let texts = ["a b. ".repeat(500), "word ".repeat(500), "語".repeat(500), " ".repeat(500)];
        for text in texts {
            for (size, overlap) in [(10, 0), (64, 20), (300, 299)] {
                let parts = split(&text, size, overlap);
                assert!(parts.iter().all(|part| part.len() <= size && !part.is_empty()));
                let mut rest = text.as_str();
                for part in parts {
                    let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is out of order"));
                    rest = &rest[at..];
                }
            }
        }
    }
}
