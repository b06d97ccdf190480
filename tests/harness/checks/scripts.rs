//! Words of many scripts, each in a fact of its own.

use anyhow::Result;

use super::{Check, Expected, MODES, check, find, import};
use crate::Caller;

/// One script: what stands before and after each word in its facts, and ten words.
pub struct Script {
    pub name: &'static str,
    pub before: &'static str,
    pub after: &'static str,
    pub words: &'static str,
}

pub const SCRIPTS: [Script; 13] = [
    Script {
        name: "Latin",
        before: "We keep the ",
        after: " in the cellar.",
        words: "ladder Straße Łódź Ørsted được \
                façade compass lantern Æsir naïve",
    },
    Script {
        name: "Cyrillic",
        before: "В шкафу лежит ",
        after: " старого мастера.",
        words: "молоток фонарь ёлка чайник компас \
                лестница зеркало скрипка якорь йогурт",
    },
    Script {
        name: "Greek",
        before: "Στο ράφι βρίσκεται ",
        after: " του δασκάλου.",
        words: "σφυρί φανάρι καθρέφτης πυξίδα σκάλα \
                άγκυρα βιολί κλειδί δρόμος ψωμί",
    },
    Script {
        name: "Arabic",
        before: "يوجد في الغرفة ",
        after: " قديم جدا.",
        words: "مِطرقة فانوس مرآة بوصلة سُلَّم \
                مفتاح كتاب قارب خبز أسد",
    },
    Script {
        name: "Hebrew",
        before: "על המדף נמצא ",
        after: " ישן מאוד.",
        words: "פטיש פנס מראה מצפן סולם \
                מפתח עוגן כינור לֶחֶם אריה",
    },
    Script {
        name: "Devanagari",
        before: "अलमारी में एक ",
        after: " रखा हुआ है।",
        words: "हथौड़ा लालटेन दर्पण कम्पास सीढ़ी \
                चाबी लंगर वायलिन रोटी सिंह",
    },
    Script {
        name: "Thai",
        before: "บนชั้นวางมี",
        after: "เก่าอยู่หนึ่งชิ้น",
        words: "ค้อน ตะเกียง กระจก เข็มทิศ บันได \
                กุญแจ สมอเรือ ไวโอลิน ขนมปัง สิงโต",
    },
    Script {
        name: "Lao",
        before: "ຢູ່ໃນຕູ້ມີ",
        after: "ເກົ່າຫຼາຍ",
        words: "ຄ້ອນ ໂຄມໄຟ ແວ່ນ ເຂັມທິດ ຂັ້ນໄດ \
                ກະແຈ ສະໝໍ ປຶ້ມ ເຂົ້າຈີ່ ສິງ",
    },
    Script {
        name: "Khmer",
        before: "នៅក្នុងទូមាន",
        after: "ចាស់មួយ",
        words: "ញញួរ ចង្កៀង កញ្ចក់ ត្រីវិស័យ ជណ្ដើរ \
                កូនសោ យុថ្កា សៀវភៅ នំបុ័ង តោ",
    },
    Script {
        name: "Burmese",
        before: "ဗီရိုထဲမှာ",
        after: "အဟောင်းရှိသည်",
        words: "တူ မီးအိမ် မှန် သံလိုက် လှေကား \
                သော့ ကျောက်ဆူး စာအုပ် ပေါင်မုန့် ခြင်္သေ့",
    },
    Script {
        name: "Chinese",
        before: "仓库里有一个",
        after: "是旧的。",
        words: "锤子 灯笼 镜子 指南针 梯子 \
                钥匙 船锚 小提琴 面包 狮子",
    },
    Script {
        name: "Japanese",
        before: "棚の上には",
        after: "が置いてあります。",
        words: "ハンマー ランタン 鏡台 羅針盤 はしご \
                合鍵 いかり バイオリン 食パン 獅子",
    },
    Script {
        name: "Korean",
        before: "선반 위에는 낡은 ",
        after: "이 놓여 있습니다.",
        words: "망치 등불 거울 나침반 사다리 \
                열쇠 닻줄 바이올린 식빵 호랑이",
    },
];

impl Script {
    /// The words, and the ids of their facts.
    pub fn asked(&self) -> impl Iterator<Item = (&'static str, String)> {
        let words = self.words.split_whitespace().enumerate();
        words.map(|(number, word)| (word, format!("{}-{number}", self.name)))
    }

    /// Ids and texts.
    pub fn facts(&self) -> impl Iterator<Item = (String, String)> {
        self.asked().map(|(word, id)| (id, format!("{}{word}{}", self.before, self.after)))
    }
}

/// Imports the facts of all scripts, and asks for each word.
///
/// # Errors
/// If a fact is not taken or a search fails.
pub async fn check_scripts(caller: &Caller) -> Result<Vec<Check>> {
    import(caller, SCRIPTS.iter().flat_map(Script::facts)).await?;
    let asked = SCRIPTS.iter().flat_map(Script::asked);
    let asked: Vec<Expected> =
        asked.map(|(query, id)| Expected { query: query.into(), id }).collect();
    let mut checks = Vec::new();
    for mode in MODES {
        let found = find(caller, mode, &asked).await?;
        let name = format!("words of {} scripts, first, {mode}", SCRIPTS.len());
        checks.push(check(name, &asked, &found, 1, Some(1.0)));
    }
    Ok(checks)
}
