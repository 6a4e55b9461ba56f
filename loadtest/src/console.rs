//! What is said to whoever watches. When standard output is a page, everything becomes a comment of it: the log of a
//! container, which holds both outputs, is a page then.

use std::sync::atomic::{AtomicBool, Ordering};

static IS_PAGE: AtomicBool = AtomicBool::new(false);

/// From now on standard output is a page.
pub fn begin_page() {
    IS_PAGE.store(true, Ordering::Relaxed);
}

/// How far things are, or what went wrong: to standard error.
pub fn progress(text: &str) {
    if IS_PAGE.load(Ordering::Relaxed) { println!("{}", comment(text)) } else { eprintln!("{text}") }
}

/// What came of it: to standard output.
pub fn result(text: &str) {
    if IS_PAGE.load(Ordering::Relaxed) { println!("{}", comment(text)) } else { println!("{text}") }
}

/// Without `>` nothing ends a comment early.
fn comment(text: &str) -> String {
    format!("<!-- {} -->", text.replace('>', "&gt;"))
}

#[cfg(test)]
mod tests {
    use super::comment;

    #[test]
    fn a_comment_ends_where_it_should() {
        assert_eq!(comment("5 s: 20 connected"), "<!-- 5 s: 20 connected -->");
        for text in ["> a", "-> a", "a --> b", "a --!> b", "<!-- a", "a -"] {
            assert_eq!(comment(text).matches('>').count(), 1, "{text}");
        }
    }
}
