//! One self-contained HTML page of one or more runs.
pub fn page(_title: Option<&str>, _runs: &[(String, crate::report::Report)]) -> String {
    String::new()
}
