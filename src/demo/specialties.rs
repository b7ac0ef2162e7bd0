//! What practitioners do, how often, and with which degree.

use super::elements::Code;

/// Which organizations a specialty is found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Field {
    #[default]
    Primary,
    Hospital,
    Specialist,
    Behavioral,
    Dental,
    Vision,
    Therapy,
    Pharmacy,
}

/// How practitioners of a specialty qualify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Degree {
    /// Doctor of medicine, or now and then of osteopathy.
    #[default]
    Physician,
    /// A degree of HL7 table 0360, with the letters put after the name.
    Table(Code, &'static str),
    /// The specialty itself is the qualification (no such degree in table 0360), with the letters after the name.
    Own(&'static str),
}

/// A NUCC taxonomy code, all of them from Plan-Net's `IndividualAndGroupSpecialtiesVS` with its displays; `label` is
/// what patients call it; `role` is from Plan-Net's `ProviderRoleCS`; `weight` counts practitioners in about 1,300.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Specialty {
    pub(super) code: Code,
    pub(super) label: &'static str,
    pub(super) field: Field,
    pub(super) role: Code,
    pub(super) degree: Degree,
    pub(super) weight: u32,
}

const PHYSICIAN: Code = ("ph", "Physician");
const NURSE: Code = ("crnp", "Certified Registered Nurse Practitioner");
const DENTIST: Code = ("de", "Dentist");
const NP: Degree = Degree::Table(("NP", "Nurse Practitioner"), "NP");
const PHD: Degree = Degree::Table(("PHD", "Doctor of Philosophy"), "PhD");
const MASTER: Degree = Degree::Table(("MS", "Master of Science"), "MS");

const fn physician(code: &'static str, display: &'static str, label: &'static str, field: Field, w: u32) -> Specialty {
    Specialty { code: (code, display), label, field, role: PHYSICIAN, degree: Degree::Physician, weight: w }
}

const fn other(code: Code, label: &'static str, field: Field, role: Code, degree: Degree, weight: u32) -> Specialty {
    Specialty { code, label, field, role, degree, weight }
}

use Field::{Behavioral, Dental, Hospital, Pharmacy, Primary, Specialist, Therapy, Vision};

pub(super) const SPECIALTIES: &[Specialty] = &[
    physician("207Q00000X", "Family Medicine Physician", "Family Medicine", Primary, 130),
    physician("207R00000X", "Internal Medicine Physician", "Internal Medicine", Primary, 105),
    physician("208000000X", "Pediatrics Physician", "Pediatrics", Primary, 60),
    physician("207V00000X", "Obstetrics & Gynecology Physician", "Women's Health", Primary, 42),
    other(("363LF0000X", "Family Nurse Practitioner"), "Family Practice Nursing", Primary, NURSE, NP, 70),
    other(
        ("363A00000X", "Physician Assistant"),
        "Primary Care",
        Primary,
        ("pa", "Physician Assistant"),
        Degree::Table(("PA", "Physician Assistant"), "PA-C"),
        55,
    ),
    physician("207P00000X", "Emergency Medicine Physician", "Emergency Medicine", Hospital, 42),
    physician("207L00000X", "Anesthesiology Physician", "Anesthesiology", Hospital, 35),
    physician("2085R0202X", "Diagnostic Radiology Physician", "Diagnostic Imaging", Hospital, 32),
    physician("208M00000X", "Hospitalist Physician", "Hospital Medicine", Hospital, 30),
    physician("208600000X", "Surgery Physician", "General Surgery", Hospital, 25),
    physician("207ZP0102X", "Anatomic Pathology & Clinical Pathology Physician", "Pathology", Hospital, 12),
    physician(
        "208G00000X",
        "Thoracic Surgery (Cardiothoracic Vascular Surgery) Physician",
        "Heart Surgery",
        Hospital,
        3,
    ),
    physician("207RC0000X", "Cardiovascular Disease Physician", "Cardiology", Specialist, 27),
    physician("207X00000X", "Orthopaedic Surgery Physician", "Orthopedics", Specialist, 24),
    physician("207W00000X", "Ophthalmology Physician", "Ophthalmology", Specialist, 18),
    physician("207N00000X", "Dermatology Physician", "Dermatology", Specialist, 14),
    physician("207RG0100X", "Gastroenterology Physician", "Gastroenterology", Specialist, 14),
    physician("2084N0400X", "Neurology Physician", "Neurology", Specialist, 14),
    physician("207RH0003X", "Hematology & Oncology Physician", "Cancer Care", Specialist, 12),
    physician("208800000X", "Urology Physician", "Urology", Specialist, 10),
    physician("207Y00000X", "Otolaryngology Physician", "Ear, Nose and Throat", Specialist, 10),
    physician("207RP1001X", "Pulmonary Disease Physician", "Pulmonology", Specialist, 10),
    physician("207RN0300X", "Nephrology Physician", "Nephrology", Specialist, 9),
    physician("207RE0101X", "Endocrinology, Diabetes & Metabolism Physician", "Endocrinology", Specialist, 7),
    physician("208100000X", "Physical Medicine & Rehabilitation Physician", "Physical Medicine", Specialist, 7),
    physician("207RI0200X", "Infectious Disease Physician", "Infectious Disease", Specialist, 6),
    physician("207RR0500X", "Rheumatology Physician", "Rheumatology", Specialist, 5),
    physician("208200000X", "Plastic Surgery Physician", "Plastic Surgery", Specialist, 5),
    physician("207K00000X", "Allergy & Immunology Physician", "Allergy", Specialist, 4),
    physician("2086S0129X", "Vascular Surgery Physician", "Vascular Surgery", Specialist, 3),
    physician("207T00000X", "Neurological Surgery Physician", "Neurosurgery", Specialist, 3),
    physician("208VP0014X", "Interventional Pain Medicine Physician", "Pain Medicine", Specialist, 2),
    physician("2080P0206X", "Pediatric Gastroenterology Physician", "Pediatric Gastroenterology", Specialist, 1),
    physician("207SG0201X", "Clinical Genetics (M.D.) Physician", "Clinical Genetics", Specialist, 1),
    other(("213E00000X", "Podiatrist"), "Podiatry", Specialist, ("po", "Podiatrist"), Degree::Own("DPM"), 8),
    physician("2084P0800X", "Psychiatry Physician", "Psychiatry", Behavioral, 32),
    physician("2084P0804X", "Child & Adolescent Psychiatry Physician", "Child Psychiatry", Behavioral, 5),
    other(
        ("363LP0808X", "Psychiatric/Mental Health Nurse Practitioner"),
        "Mental Health Nursing",
        Behavioral,
        NURSE,
        NP,
        10,
    ),
    other(("103TC0700X", "Clinical Psychologist"), "Psychology", Behavioral, ("py", "Psychologist"), PHD, 30),
    other(("1041C0700X", "Clinical Social Worker"), "Social Work", Behavioral, ("sw", "Social Worker"), MASTER, 45),
    other(("101YP2500X", "Professional Counselor"), "Counseling", Behavioral, ("co", "Counselor"), MASTER, 35),
    other(
        ("106H00000X", "Marriage & Family Therapist"),
        "Family Therapy",
        Behavioral,
        ("mt", "Marriage/Family Therapist"),
        MASTER,
        15,
    ),
    other(("1223G0001X", "General Practice Dentistry"), "Dentistry", Dental, DENTIST, Degree::Own("DDS"), 50),
    other(
        ("1223X0400X", "Orthodontics and Dentofacial Orthopedic Dentist"),
        "Orthodontics",
        Dental,
        DENTIST,
        Degree::Own("DMD"),
        8,
    ),
    other(("1223P0221X", "Pediatric Dentist"), "Pediatric Dentistry", Dental, DENTIST, Degree::Own("DDS"), 6),
    other(("1223E0200X", "Endodontist"), "Endodontics", Dental, DENTIST, Degree::Own("DDS"), 4),
    other(("152W00000X", "Optometrist"), "Optometry", Vision, ("oo", "Optometrist"), Degree::Own("OD"), 26),
    other(
        ("225100000X", "Physical Therapist"),
        "Physical Therapy",
        Therapy,
        ("pt", "Physical Therapist"),
        Degree::Own("DPT"),
        50,
    ),
    other(
        ("225X00000X", "Occupational Therapist"),
        "Occupational Therapy",
        Therapy,
        ("ot", "Occupational Therapist"),
        Degree::Own("OTR/L"),
        20,
    ),
    other(
        ("235Z00000X", "Speech-Language Pathologist"),
        "Speech Therapy",
        Therapy,
        ("sp", "Speech Language Pathologist"),
        MASTER,
        14,
    ),
    other(("111N00000X", "Chiropractor"), "Chiropractic", Therapy, ("ch", "Chiropractor"), Degree::Own("DC"), 24),
    other(("231H00000X", "Audiologist"), "Audiology", Therapy, ("au", "Audiologist"), Degree::Own("AuD"), 6),
    other(
        ("183500000X", "Pharmacist"),
        "Pharmacy Care",
        Pharmacy,
        ("rx", "Pharmacy Service Providers"),
        Degree::Table(("RPH", "Registered Pharmacist"), "RPh"),
        26,
    ),
];

/// Types of service named by Plan-Net's `HealthcareServiceTypeVS`, for the specialties (by label) they fit.
const SERVICE_TYPES: [(&str, Code); 12] = [
    ("Family Medicine", ("554", "Chronic Disease Management")),
    ("Internal Medicine", ("554", "Chronic Disease Management")),
    ("Women's Health", ("559", "Women's Health")),
    ("Cancer Care", ("501", "Cancer Services")),
    ("Endocrinology", ("488", "Diabetes Educator")),
    ("Pain Medicine", ("400", "Pain")),
    ("Clinical Genetics", ("75", "Genetic Counselling")),
    ("Social Work", ("76", "Health Counselling")),
    ("Counseling", ("105", "Drug and/or Alcohol Counselling")),
    ("Family Therapy", ("71", "Family Counselling/Therapy")),
    ("Speech Therapy", ("68", "Speech Pathology/Therapy")),
    ("Pharmacy Care", ("537", "Medication Reviews")),
];

pub(super) fn service_type(label: &str) -> Option<Code> {
    SERVICE_TYPES.iter().find(|(name, _)| *name == label).map(|(_, code)| *code)
}
