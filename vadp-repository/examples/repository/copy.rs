//! `copy`: restore points into another repository.

use clap::Args;
use serde_json::json;
use vadp_repository::{PointId, Repository, Secret};

use crate::{open_store, show, terminal};

#[derive(Args)]
pub struct Copy {
    /// The other repository; its password is in VADP_REPOSITORY_TO_PASSWORD, or is asked for.
    #[arg(long)]
    to: String,
    /// The restore points; all by default, oldest first. What the other repository has is passed over.
    points: Vec<String>,
}

impl Copy {
    pub async fn run(&self, repo: &Repository, is_json: bool) -> anyhow::Result<()> {
        let secret = Secret::password(terminal::password(&terminal::TO, false)?);
        let other = Repository::open(open_store(&self.to, false)?, &secret).await?;
        let mut points =
            self.points.iter().map(|text| PointId::parse(text)).collect::<Result<Vec<_>, _>>()?;
        if self.points.is_empty() {
            points = repo.points(None).await?.iter().map(|point| point.id).collect();
        }
        let (mut copied, mut known) = (Vec::new(), 0);
        for point in points {
            let bar = terminal::bar(is_json, 0);
            let copy = repo.copy_point(point, &other, terminal::progress(&bar)).await?;
            bar.finish_and_clear();
            match copy.is_new {
                true => copied.push(json!({"point": point.to_string(), "copy": copy.point.id().to_string()})),
                false => known += 1,
            }
        }
        show::line(is_json, &json!({"copied": copied, "known": known}), || {
            format!("{} restore points copied, {known} were there already", copied.len())
        });
        Ok(())
    }
}
