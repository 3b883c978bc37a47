/// So many of something: `1 row`, `2 rows`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        let words = [0, 1, 2].map(|count| counted(count, "row", "rows"));
        assert_eq!(words, ["0 rows", "1 row", "2 rows"]);
    }
}
