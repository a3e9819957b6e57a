//! Whether what was printed has the shape that a page shows: `…` stands for what differs.

/// Whether these lines are as shown. A line that is `…` alone stands for any number of lines.
pub(crate) fn fits(shown: &[&str], printed: &[String]) -> bool {
    let Some((first, rest)) = shown.split_first() else {
        return printed.is_empty();
    };
    if first.trim() == "…" {
        return (0..=printed.len()).any(|skipped| fits(rest, &printed[skipped..]));
    }
    let Some((line, others)) = printed.split_first() else {
        return false;
    };
    line_fits(first.trim_end(), line.trim_end()) && fits(rest, others)
}

fn line_fits(shown: &str, printed: &str) -> bool {
    let Some((fixed, rest)) = shown.split_once('…') else {
        return shown == printed;
    };
    let Some(printed) = printed.strip_prefix(fixed) else {
        return false;
    };
    let starts = printed.char_indices().map(|(at, _)| at).chain([printed.len()]);
    starts.into_iter().any(|at| line_fits(rest, &printed[at..]))
}

#[test]
fn dots_stand_for_anything_and_nothing_else_does() {
    let printed = ["id: ag_1", "a", "b", "took 4 ms"].map(str::to_owned);
    for shown in [&["id: ag_…", "…", "took … ms"][..], &["…"], &["id: ag_1", "a", "b", "…"]]
    {
        assert!(fits(shown, &printed), "{shown:?}");
    }
    for shown in [&["id: ag_…"][..], &["…", "took … s"], &["id: ag_…", "b", "…"], &[]] {
        assert!(!fits(shown, &printed), "{shown:?}");
    }
}
