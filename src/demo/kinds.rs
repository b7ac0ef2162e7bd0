//! The kinds of provider organization and how each of them shows in the directory.

use super::elements::Code;
use super::specialties::Field;

/// One kind of provider organization. The codes are, in turn, from Plan-Net's `OrgTypeCS`, NUCC
/// (`NonIndividualSpecialtiesVS`), `HealthcareServiceCategoryCS`, `OrganizationAffiliationRoleCS` and v3-RoleCode.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kind {
    /// Last words of the names of such organizations.
    pub(super) suffixes: &'static [&'static str],
    pub(super) org_type: Code,
    pub(super) facility: Code,
    pub(super) category: Code,
    pub(super) affiliation: Code,
    pub(super) site: Code,
    /// Fields of the specialties it offers; none where it employs no practitioners listed here.
    pub(super) fields: &'static [Field],
    /// Fewest and most services.
    pub(super) services: (u32, u32),
    /// How many of 116 organizations are of this kind.
    pub(super) weight: u32,
    /// Its pull on the sites left over once every organization has one.
    pub(super) sites: u32,
}

const FACILITY: Code = ("fac", "Facility");
const GROUP: Code = ("prvgrp", "Provider Group");

/// The first kind is the hospital, to which other organizations attach themselves.
pub(super) const HOSPITAL: usize = 0;

pub(super) const KINDS: &[Kind] = &[
    Kind {
        suffixes: &["General Hospital", "Medical Center", "Regional Hospital"],
        org_type: FACILITY,
        facility: ("282N00000X", "General Acute Care Hospital"),
        category: ("hosp", "Hospital"),
        affiliation: ("hospital", "Hospital"),
        site: ("HOSP", "Hospital"),
        fields: &[Field::Hospital, Field::Specialist, Field::Primary],
        services: (7, 10),
        weight: 6,
        sites: 10,
    },
    Kind {
        suffixes: &["Medical Group", "Physicians", "Health Partners"],
        org_type: GROUP,
        facility: ("261QM1300X", "Multi-Specialty Clinic/Center"),
        category: ("group", "Medical Group"),
        affiliation: ("group", "Medical Group"),
        site: ("OF", "Outpatient facility"),
        fields: &[Field::Primary, Field::Specialist],
        services: (4, 6),
        weight: 18,
        sites: 4,
    },
    Kind {
        suffixes: &["Family Practice", "Primary Care", "Community Clinic"],
        org_type: GROUP,
        facility: ("261QP2300X", "Primary Care Clinic/Center"),
        category: ("prov", "Medical Provider"),
        affiliation: ("outpatient", "Clinic or Outpatient Facility"),
        site: ("PC", "Primary care clinic"),
        fields: &[Field::Primary],
        services: (1, 3),
        weight: 26,
        sites: 1,
    },
    Kind {
        suffixes: &["Specialty Associates", "Specialists", "Consultants"],
        org_type: GROUP,
        facility: ("261QM2500X", "Medical Specialty Clinic/Center"),
        category: ("prov", "Medical Provider"),
        affiliation: ("outpatient", "Clinic or Outpatient Facility"),
        site: ("PROFF", "Provider's Office"),
        fields: &[Field::Specialist],
        services: (1, 2),
        weight: 16,
        sites: 1,
    },
    Kind {
        suffixes: &["Behavioral Health", "Counseling Center", "Mind and Family Clinic"],
        org_type: GROUP,
        facility: ("261QM0801X", "Mental Health Clinic/Center (Including Community Mental Health Center)"),
        category: ("behav", "Behavioral Health"),
        affiliation: ("behavioral", "Outpatient Behavioral Health Provider"),
        site: ("PSI", "Psychology clinic"),
        fields: &[Field::Behavioral],
        services: (1, 3),
        weight: 10,
        sites: 1,
    },
    Kind {
        suffixes: &["Dental Care", "Dental Group", "Smile Center"],
        org_type: GROUP,
        facility: ("261QD0000X", "Dental Clinic/Center"),
        category: ("dent", "Dental"),
        affiliation: ("outpatient", "Clinic or Outpatient Facility"),
        site: ("PROFF", "Provider's Office"),
        fields: &[Field::Dental],
        services: (1, 2),
        weight: 10,
        sites: 1,
    },
    Kind {
        suffixes: &["Eye Care", "Vision Center"],
        org_type: GROUP,
        facility: ("332H00000X", "Eyewear Supplier"),
        category: ("vis", "Vision"),
        affiliation: ("retail", "Retail Health Center"),
        site: ("OPTC", "optometry clinic"),
        fields: &[Field::Vision],
        services: (1, 1),
        weight: 4,
        sites: 1,
    },
    Kind {
        suffixes: &["Rehabilitation", "Therapy Center", "Movement Clinic"],
        org_type: GROUP,
        facility: ("261QR0400X", "Rehabilitation Clinic/Center"),
        category: ("outpat", "Clinic or Outpatient Facility"),
        affiliation: ("outpatient", "Clinic or Outpatient Facility"),
        site: ("OF", "Outpatient facility"),
        fields: &[Field::Therapy],
        services: (1, 2),
        weight: 8,
        sites: 1,
    },
    Kind {
        suffixes: &["Pharmacy", "Drug Store"],
        org_type: FACILITY,
        facility: ("3336C0003X", "Community/Retail Pharmacy"),
        category: ("pharm", "Pharmacy"),
        affiliation: ("pharmacy", "Pharmacy"),
        site: ("OUTPHARM", "outpatient pharmacy"),
        fields: &[Field::Pharmacy],
        services: (1, 1),
        weight: 6,
        sites: 3,
    },
    Kind {
        suffixes: &["Urgent Care", "Walk-in Clinic"],
        org_type: FACILITY,
        facility: ("261QU0200X", "Urgent Care Clinic/Center"),
        category: ("urg", "Urgent Care"),
        affiliation: ("urgent", "Urgent Care Center"),
        site: ("OF", "Outpatient facility"),
        fields: &[Field::Primary],
        services: (1, 2),
        weight: 4,
        sites: 2,
    },
    Kind {
        suffixes: &["Laboratory", "Diagnostics"],
        org_type: FACILITY,
        facility: ("291U00000X", "Clinical Medical Laboratory"),
        category: ("lab", "Laboratory"),
        affiliation: ("laboratory", "Laboratory"),
        site: ("MBL", "medical laboratory"),
        fields: &[],
        services: (1, 1),
        weight: 2,
        sites: 2,
    },
    Kind {
        suffixes: &["Home Health", "Home Care"],
        org_type: FACILITY,
        facility: ("251E00000X", "Home Health Agency"),
        category: ("home", "Home Health"),
        affiliation: ("home", "Home Health Provider"),
        site: ("PTRES", "Patient's Residence"),
        fields: &[],
        services: (1, 1),
        weight: 3,
        sites: 0,
    },
    Kind {
        suffixes: &["Medical Supply", "Medical Equipment"],
        org_type: ("bus", "Non-Healthcare Business"),
        facility: ("332B00000X", "Durable Medical Equipment & Medical Supplies"),
        category: ("dme", "DME/Medical Supplies"),
        affiliation: ("dme", "DME/Medical Supplier"),
        site: ("OF", "Outpatient facility"),
        fields: &[],
        services: (1, 1),
        weight: 2,
        sites: 0,
    },
    Kind {
        suffixes: &["Medical Transport", "Patient Transit"],
        org_type: ("atyprv", "Atypical Provider"),
        facility: ("343900000X", "Non-emergency Medical Transport (VAN)"),
        category: ("trans", "Transportation"),
        // The code system spells the display this way.
        affiliation: ("transport", "Transporation Provider"),
        site: ("AMB", "Ambulance"),
        fields: &[],
        services: (1, 1),
        weight: 1,
        sites: 0,
    },
];

/// First words of organization names.
#[rustfmt::skip]
pub(super) const NAMES: [&str; 64] = [
    "Alder Ridge", "Amber Valley", "Aspen Grove", "Beacon Hill", "Birchwood", "Bluebird", "Brookside", "Canyon View",
    "Cedar Grove", "Clearwater", "Cloverleaf", "Copper Creek", "Cottonwood", "Crestline", "Cypress Bend", "Dogwood",
    "Eagle Point", "Eastgate", "Elm Street", "Evergreen", "Fairhaven", "Falcon Ridge", "Fern Hollow", "Foothill",
    "Fox Run", "Glenwood", "Golden Meadow", "Granite Peak", "Greenfield", "Harbor Point", "Hawthorn", "Heron Lake",
    "Hickory Hill", "Highland Park", "Indigo Bay", "Ironwood", "Juniper", "Kingfisher", "Lakeshore", "Larkspur",
    "Laurel Canyon", "Linden", "Magnolia", "Maple Leaf", "Meadowbrook", "Mill Pond", "Mockingbird", "Northside",
    "Oak Terrace", "Old Town", "Orchard Park", "Palmetto", "Pebble Creek", "Pine Bluff", "Quail Hollow", "Redbud",
    "River Bend", "Rosewood", "Sandstone", "Silver Maple", "Stonebridge", "Sycamore", "Willow Springs", "Windmill",
];
