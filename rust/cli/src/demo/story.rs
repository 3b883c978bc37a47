//! The story, chapter by chapter.

use super::dice::Dice;
use super::stage::{Connected, Stage};
use super::tale::Tale;
use super::trouble::Trouble;

mod dark; // nobody sees the gateway
pub(super) use dark::Probe;
mod sign_in; // Ana comes in
mod reach; // what she reaches, and what she never hears of
mod steal; // Mallory has what was hers
mod revoke; // an administrator says stop
mod drift; // her device is no longer fit
mod cut_off; // the broker is gone
mod preview; // a change is looked at before it is made
mod prove; // all of it was written down

/// Plays all chapters. What still runs at the end comes back.
pub(super) async fn play(
    tale: &mut Tale,
    mut stage: Stage,
    browser: bool,
    seed: u64,
) -> Result<(Stage, Connected), Trouble> {
    let mut dice = Dice::new(seed);
    dark::play(tale, &stage, &mut dice).await?;
    let ana = sign_in::play(tale, &stage, browser).await?;
    let tablet = reach::play(tale, &stage, &ana, &mut dice).await?;
    let ana = steal::play(tale, &stage, ana, tablet, &mut dice).await?;
    revoke::play(tale, &mut stage, &ana).await?;
    drift::play(tale, &stage, &ana).await?;
    cut_off::play(tale, &mut stage, &ana).await?;
    preview::play(tale, &stage).await?;
    prove::play(tale, &stage, &mut dice).await?;
    Ok((stage, ana))
}
