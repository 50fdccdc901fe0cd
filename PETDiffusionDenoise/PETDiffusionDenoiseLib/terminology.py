"""SNOMED CT terms and display colours of the structures that segmentations may hold.

Names are spelled as TotalSegmentator spells them, with the general ones (lung, bone, muscle, kidney) that
segmenting methods use. The codes are those of DICOM's anatomy and finding context groups.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

ANATOMY = ("123037004", "Anatomical Structure")
TISSUE = ("85756007", "Tissue")
ALTERED = ("49755003", "Morphologically Altered Structure")
SIDES = {"left": ("7771000", "Left"), "right": ("24028007", "Right")}

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Term:
    """What a segment is: SNOMED code and meaning, side, and the colour it is drawn in."""

    code: str
    meaning: str
    color: Color
    side: str = ""
    category: tuple[str, str] = ANATOMY

    @property
    def title(self) -> str:
        return f"{self.meaning}, {self.side}" if self.side else self.meaning


BONE: Color = (241, 214, 145)
MUSCLE: Color = (192, 104, 88)
ARTERY: Color = (216, 71, 62)
VEIN: Color = (66, 126, 214)
GUT: Color = (205, 167, 142)

_WHOLE = {
    "aorta": Term("15825003", "Aorta", (224, 97, 76)),
    "bone": Term("272673000", "Bone", BONE),
    "brachiocephalic_trunk": Term("12691009", "Brachiocephalic artery", ARTERY),
    "brain": Term("12738006", "Brain", (235, 205, 180)),
    "colon": Term("71854001", "Colon", (204, 168, 143)),
    "costal_cartilages": Term("50016007", "Costal cartilage", (111, 184, 210)),
    "duodenum": Term("38848004", "Duodenum", (230, 176, 88)),
    "esophagus": Term("32849002", "Esophagus", (211, 171, 143)),
    "gallbladder": Term("28231008", "Gallbladder", (139, 150, 98)),
    "heart": Term("80891009", "Heart", (206, 110, 84)),
    "heart_atrium_left": Term("82471001", "Left atrium", (206, 84, 110)),
    "heart_atrium_right": Term("73829009", "Right atrium", (184, 76, 132)),
    "heart_myocardium": Term("74281007", "Myocardium", (200, 60, 40)),
    "heart_ventricle_left": Term("87878005", "Left ventricle of heart", (220, 96, 60)),
    "heart_ventricle_right": Term("53085002", "Right ventricle of heart", (170, 96, 150)),
    "inferior_vena_cava": Term("64131007", "Inferior vena cava", VEIN),
    "intervertebral_discs": Term("360499006", "Intervertebral disc", (160, 196, 206)),
    "liver": Term("10200004", "Liver", (160, 82, 45)),
    "lung": Term("39607008", "Lung", (94, 170, 224)),
    "lung_middle_lobe_right": Term("72481006", "Middle lobe of right lung", (120, 190, 230)),
    "muscle": Term("127954009", "Skeletal muscle", MUSCLE),
    "pancreas": Term("15776009", "Pancreas", (249, 180, 111)),
    "portal_vein_and_splenic_vein": Term("110765007", "Portal vein and splenic vein", (0, 110, 180)),
    "prostate": Term("41216001", "Prostate", (230, 158, 140)),
    "pulmonary_artery": Term("81040000", "Pulmonary artery", (0, 112, 190)),
    "pulmonary_vein": Term("122972007", "Pulmonary vein", (186, 77, 64)),
    "sacrum": Term("54735007", "Sacrum", (212, 188, 102)),
    "skull": Term("89546000", "Skull", BONE),
    "small_bowel": Term("30315005", "Small Intestine", GUT),
    "spinal_cord": Term("2748008", "Spinal cord", (244, 214, 49)),
    "spleen": Term("78961009", "Spleen", (157, 108, 162)),
    "sternum": Term("56873002", "Sternum", (244, 217, 154)),
    "stomach": Term("69695003", "Stomach", (216, 132, 105)),
    "subcutaneous_fat": Term("67769002", "Subcutaneous fatty tissue", (230, 220, 110), category=TISSUE),
    "superior_vena_cava": Term("48345005", "Superior vena cava", VEIN),
    "thyroid_gland": Term("69748006", "Thyroid gland", (62, 162, 114)),
    "torso_fat": Term("55603005", "Fat", (230, 220, 70), category=TISSUE),
    "trachea": Term("44567001", "Trachea", (182, 228, 255)),
    "urinary_bladder": Term("89837001", "Urinary bladder", (222, 194, 90)),
    "vertebrae_S1": Term("65985001", "S1 vertebra", (226, 202, 134)),
}

_PAIRED = {
    "adrenal_gland": Term("23451007", "Adrenal gland", (244, 186, 150)),
    "atrial_appendage": Term("68786006", "Auricular appendage", (210, 100, 130)),
    "autochthon": Term("244849004", "Deep muscle of back", MUSCLE),
    "brachiocephalic_vein": Term("8887007", "Brachiocephalic vein", VEIN),
    "clavicula": Term("51299004", "Clavicle", (240, 220, 160)),
    "common_carotid_artery": Term("32062004", "Common carotid artery", ARTERY),
    "femur": Term("71341001", "Femur", (236, 206, 130)),
    "gluteus_maximus": Term("181674001", "Gluteus maximus muscle", (188, 95, 76)),
    "gluteus_medius": Term("78333006", "Gluteus medius muscle", (178, 105, 76)),
    "gluteus_minimus": Term("75297007", "Gluteus minimus muscle", (178, 95, 96)),
    "hip": Term("29836001", "Hip", (226, 196, 120)),
    "humerus": Term("85050009", "Humerus", (236, 210, 150)),
    "iliac_artery": Term("73634005", "Common iliac artery", ARTERY),
    "iliac_vena": Term("46027005", "Common iliac vein", VEIN),
    "iliopsoas": Term("68455001", "Iliopsoas muscle", (204, 112, 96)),
    "kidney": Term("64033007", "Kidney", (222, 102, 140)),
    "lung": Term("39607008", "Lung", (94, 170, 224)),
    "lung_lower_lobe": Term("90572001", "Lower lobe of lung", (74, 150, 210)),
    "lung_upper_lobe": Term("45653009", "Upper lobe of lung", (140, 200, 236)),
    "scapula": Term("79601000", "Scapula", (230, 206, 146)),
    "subclavian_artery": Term("29700009", "Subclavian artery", ARTERY),
}

_CYST = Term("367643001", "Cyst", (205, 205, 100), category=ALTERED)
LESION = Term("4147007", "Mass", (255, 64, 64), category=ALTERED)

_RIBS = {1: ("48535007", "First rib"), 2: ("78247007", "Second rib"), 3: ("25888004", "Third rib"),
         4: ("25523003", "Fourth rib"), 5: ("15339008", "Fifth rib"), 6: ("59558009", "Sixth rib"),
         7: ("24915002", "Seventh rib"), 8: ("5953002", "Eighth rib"), 9: ("22565002", "Ninth rib"),
         10: ("77644006", "Tenth rib"), 11: ("58830002", "Eleventh rib"), 12: ("43993008", "Twelfth rib")}

_VERTEBRAE = {
    "C1": "14806007", "C2": "39976000", "C3": "113205007", "C4": "5329002", "C5": "36978003", "C6": "36054005",
    "C7": "87391001", "T1": "64864005", "T2": "53733008", "T3": "1626008", "T4": "73071006", "T5": "56401006",
    "T6": "45296009", "T7": "62487009", "T8": "11068009", "T9": "82687006", "T10": "7610001", "T11": "12989004",
    "T12": "23215003", "L1": "66794005", "L2": "14293000", "L3": "36470004", "L4": "11994002", "L5": "49668003",
}


def _table() -> dict[str, Term]:
    table = dict(_WHOLE) | {name: term for name, term in _PAIRED.items() if name not in _WHOLE}
    for side in SIDES:
        table |= {f"{name}_{side}": replace(term, side=side) for name, term in _PAIRED.items()}
        table[f"kidney_cyst_{side}"] = replace(_CYST, side=side)
        table |= {f"rib_{side}_{n}": Term(code, meaning, (236, 212, 150), side)
                  for n, (code, meaning) in _RIBS.items()}
    table |= {f"vertebrae_{level}": Term(code, f"{level} vertebra", (226, 202, 134))
              for level, code in _VERTEBRAE.items()}
    return table


TERMS = _table()


def term(name: str) -> Term | None:
    """The term of a structure, by any usual spelling (`Kidney left`, `kidney_left`, `Kidney, left`, `lesion 3`)."""
    key = "_".join(name.strip().replace("-", " ").replace("_", " ").split())
    if key in TERMS:
        return TERMS[key]
    low = key.lower()
    if low.startswith(("lesion", "tumor", "tumour", "metastasis")):
        return LESION
    return _BY_LOWER_NAME.get(low) or _BY_TITLE.get(name.strip().lower())


_BY_LOWER_NAME = {name.lower(): known for name, known in TERMS.items()}
_BY_TITLE = {known.title.lower(): known for known in TERMS.values()}


def entry(known: Term) -> str:
    """The term as Slicer keeps it in a segment's tag."""
    def code(value: tuple[str, str] | None) -> str:
        return f"SCT^{value[0]}^{value[1]}" if value else "^^"

    parts = ("Segmentation category and type - 3D Slicer General Anatomy list", code(known.category),
             code((known.code, known.meaning)), code(SIDES.get(known.side)),
             "Anatomic codes - DICOM master list", code(None), code(None))
    return "~".join(parts)
