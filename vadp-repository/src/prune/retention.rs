//! Which restore points stay.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::SystemTime;

use crate::ids::{MachineId, PointId};
use crate::read::PointInfo;

/// Which restore points of each machine stay. A point stays when any rule keeps it, and the newest of a machine always does. Without a
/// rule that counts, all stay.
///
/// `daily: 7` keeps the newest point of each of the seven latest days that have any; weeks (which begin on Monday), months and years
/// alike. Days begin at midnight UTC.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// The latest so many points.
    pub last: u32,
    /// The latest so many days.
    pub daily: u32,
    /// The latest so many weeks.
    pub weekly: u32,
    /// The latest so many months.
    pub monthly: u32,
    /// The latest so many years.
    pub yearly: u32,
    /// Points that have one of these tags: `key`, or `key=value`.
    pub tags: Vec<String>,
    /// These points.
    pub pinned: BTreeSet<PointId>,
}

/// Why a point stays.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeepReason {
    /// No rule counts, so all stay.
    NoRule,
    /// It is the newest of its machine.
    Newest,
    /// It is among the latest ones.
    Last,
    /// It is the newest of one of the days, weeks, months, years to keep.
    Daily,
    /// See [`Daily`](Self::Daily).
    Weekly,
    /// See [`Daily`](Self::Daily).
    Monthly,
    /// See [`Daily`](Self::Daily).
    Yearly,
    /// It has this tag.
    Tag(String),
    /// It was named.
    Pinned,
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule => f.write_str("no rule"),
            Self::Newest => f.write_str("newest"),
            Self::Last => f.write_str("last"),
            Self::Daily => f.write_str("daily"),
            Self::Weekly => f.write_str("weekly"),
            Self::Monthly => f.write_str("monthly"),
            Self::Yearly => f.write_str("yearly"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Pinned => f.write_str("pinned"),
        }
    }
}

impl Retention {
    /// A rule that keeps all.
    pub fn keep_all() -> Self {
        Self::default()
    }

    /// Why each point stays; those without a reason go. The points are in any order.
    pub(super) fn judge(&self, points: &[PointInfo]) -> BTreeMap<PointId, Vec<KeepReason>> {
        let mut machines: BTreeMap<&MachineId, Vec<&PointInfo>> = BTreeMap::new();
        points.iter().for_each(|point| machines.entry(&point.machine).or_default().push(point));
        let mut reasons: BTreeMap<PointId, Vec<KeepReason>> = BTreeMap::new();
        for mut points in machines.into_values() {
            points.sort_by_key(|point| std::cmp::Reverse((point.created, point.id)));
            for (number, point) in points.iter().enumerate() {
                let own = reasons.entry(point.id).or_default();
                if number == 0 {
                    own.push(KeepReason::Newest);
                }
                if !self.counts() {
                    own.push(KeepReason::NoRule);
                }
                if number < self.last as usize {
                    own.push(KeepReason::Last);
                }
                own.extend(self.tags.iter().filter(|tag| has_tag(point, tag)).cloned().map(KeepReason::Tag));
                if self.pinned.contains(&point.id) {
                    own.push(KeepReason::Pinned);
                }
            }
            for (count, period, reason) in [
                (self.daily, crate::time::day as fn(SystemTime) -> i64, KeepReason::Daily),
                (self.weekly, week, KeepReason::Weekly),
                (self.monthly, month, KeepReason::Monthly),
                (self.yearly, year, KeepReason::Yearly),
            ] {
                let (mut left, mut latest) = (count, None);
                for point in &points {
                    let this = Some(period(point.created));
                    if left > 0 && latest != this {
                        (left, latest) = (left - 1, this);
                        reasons.entry(point.id).or_default().push(reason.clone());
                    }
                }
            }
        }
        reasons
    }

    /// Whether a rule says how many points stay; tags and pins alone would take away all others, which nobody means.
    fn counts(&self) -> bool {
        [self.last, self.daily, self.weekly, self.monthly, self.yearly].iter().any(|&count| count > 0)
    }
}

fn has_tag(point: &PointInfo, tag: &str) -> bool {
    match tag.split_once('=') {
        Some((key, value)) => point.tags.get(key).is_some_and(|found| found == value),
        None => point.tags.contains_key(tag),
    }
}

/// Weeks; 1970-01-01 was a Thursday.
fn week(time: SystemTime) -> i64 {
    (crate::time::day(time) + 3).div_euclid(7)
}

fn month(time: SystemTime) -> i64 {
    let (year, month) = year_and_month(crate::time::day(time));
    year * 12 + month
}

fn year(time: SystemTime) -> i64 {
    year_and_month(crate::time::day(time)).0
}

/// Year and month (from 0) of a day, in the Gregorian calendar.
fn year_and_month(day: i64) -> (i64, i64) {
    // Counted from 1 March 2000: so leap days end 4-year spans, and leap centuries end 400-year spans.
    let day = day - 11_017;
    let (era, in_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let century = (in_era / 36_524).min(3);
    let in_century = in_era - century * 36_524;
    let (four, in_four) = (in_century / 1461, in_century % 1461);
    let year = (in_four / 365).min(3);
    let in_year = in_four - year * 365;
    // From March on, months repeat 31, 30, 31, 30, 31 days.
    let month = (5 * in_year + 2) / 153;
    let years = 2000 + 400 * era + 100 * century + 4 * four + year;
    match month < 10 {
        true => (years, month + 2),
        false => (years + 1, month - 10),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn point(number: u8, machine: &str, days: u64, tag: Option<&str>) -> PointInfo {
        let mut tags = BTreeMap::new();
        tags.extend(tag.map(|tag| (tag.to_owned(), "yes".to_owned())));
        PointInfo {
            id: PointId::from_bytes([number; 16]),
            machine: MachineId::new(machine).unwrap(),
            created: UNIX_EPOCH + Duration::from_secs(days * 86_400 + u64::from(number)),
            tags,
            disks: Vec::new(),
        }
    }

    fn kept(retention: &Retention, points: &[PointInfo]) -> Vec<u8> {
        let reasons = retention.judge(points);
        let kept = points.iter().filter(|point| !reasons[&point.id].is_empty());
        kept.map(|point| point.id.as_bytes()[0]).collect()
    }

    #[test]
    fn months_and_years_are_those_of_the_calendar() {
        for (day, expected) in [
            (0, (1970, 0)),
            (-1, (1969, 11)),
            (58, (1970, 1)),
            (59, (1970, 2)),
            (11_016, (2000, 1)),
            (11_017, (2000, 2)),
            (11_322, (2000, 11)),
            (11_323, (2001, 0)),
            (19_782, (2024, 1)),
            (19_783, (2024, 2)),
            (20_784, (2026, 10)),
            (47_540, (2100, 1)),
            (47_541, (2100, 2)),
        ] {
            assert_eq!(year_and_month(day), expected, "day {day}");
        }
        // Every month has the days that it has.
        let mut lengths = BTreeMap::<(i64, i64), i64>::new();
        (0..146_097).for_each(|day| *lengths.entry(year_and_month(day)).or_default() += 1);
        for ((year, month), days) in lengths {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let expected = [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize];
            assert_eq!(days, expected, "{year}-{}", month + 1);
        }
        assert_eq!(week(UNIX_EPOCH + Duration::from_secs(3 * 86_400)), 0);
        assert_eq!(week(UNIX_EPOCH + Duration::from_secs(4 * 86_400)), 1);
    }

    #[test]
    fn the_newest_of_each_period_stays() {
        let points: Vec<_> = (1..=10).map(|n| point(n, "web", u64::from(n / 2), None)).collect();
        assert_eq!(kept(&Retention { last: 3, ..Retention::default() }, &points), [8, 9, 10]);
        assert_eq!(kept(&Retention { daily: 3, ..Retention::default() }, &points), [7, 9, 10]);
        assert_eq!(kept(&Retention { yearly: 5, ..Retention::default() }, &points), [10]);
        assert_eq!(kept(&Retention { last: 1, weekly: 2, ..Retention::default() }, &points), [7, 10]);
    }

    #[test]
    fn the_last_one_of_a_machine_pins_and_tags_stay() {
        let points = [
            point(1, "a", 1, None),
            point(2, "b", 9, Some("keep")),
            point(3, "b", 10, None),
            point(4, "b", 11, None),
        ];
        let mut retention = Retention { last: 1, ..Retention::default() };
        assert_eq!(kept(&retention, &points), [1, 4]);
        retention.tags = vec!["keep=no".to_owned()];
        assert_eq!(kept(&retention, &points), [1, 4]);
        retention.tags = vec!["keep=yes".to_owned()];
        assert_eq!(kept(&retention, &points), [1, 2, 4]);
        retention.pinned.insert(points[2].id);
        assert_eq!(kept(&retention, &points), [1, 2, 3, 4]);
        // Tags and pins without a number keep, and take nothing away.
        retention.last = 0;
        assert_eq!(kept(&retention, &points), [1, 2, 3, 4]);
        assert_eq!(kept(&Retention::keep_all(), &points), [1, 2, 3, 4]);
    }
}
