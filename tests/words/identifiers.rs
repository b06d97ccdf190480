//! Generated identifiers among many facts, most of them near twins.

use anyhow::Result;
use kenning_tests::checks::Identifiers;

use super::{by_words, import, serve};

#[tokio::test]
async fn an_identifier_finds_its_fact_among_near_twins() -> Result<()> {
    let server = serve().await?;
    let identifiers = Identifiers::new();
    import(&server, &identifiers.facts().collect::<Vec<_>>()).await?;
    let (mut asked, mut wrong) = (0, Vec::new());
    for (identifier, id) in identifiers.asked() {
        asked += 1;
        let found = by_words(&server, identifier).await?;
        if found.first() != Some(&id) {
            wrong.push((identifier.to_string(), found));
        }
    }
    assert_eq!(asked, 200);
    assert!(wrong.is_empty(), "{} of {asked} are not first: {wrong:?}", wrong.len());
    Ok(())
}
