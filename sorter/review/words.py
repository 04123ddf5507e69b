"""What the labelling page says, in the two languages of the names.

Keys with a brace are filled in by the page's script or by `RefusedError`.
"""

from __future__ import annotations

from collections.abc import Mapping

from sorter.errors import UsageError

_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "lang": "en",
        "title": "What is this?",
        "answer": "Answer",
        "alike": "Pictures that look alike",
        "marked": "These look alike; marked ones get the same answer.",
        "all": "All or none",
        "search": "Another class: type its name or code",
        "classes": "Classes",
        "none": "None of these",
        "tray": "Empty tray",
        "skip": "Skip",
        "undo": "Undo",
        "teach": "Teach now",
        "finish": "Finish",
        "counts": "{left} left · {labelled} labelled · {skipped} skipped",
        "broken": " · {broken} cannot be shown",
        "is": "{name} is {label}",
        "skipped": "{name} skipped",
        "empty": "Nothing left to answer. New pictures appear here by themselves.",
        "said": "{name} — the station said {label}, {score}",
        "audited": "sorted; what is it?",
        "picture": "Picture {name}",
        "one alike": "A picture that looks alike",
        "teaching": "Teaching: a few seconds …",
        "finished": "Finished. You may close this page.",
        "ended": "sorter review has ended; what was answered is kept.",
        "not loaded": "The picture could not be loaded; skip it or reload the page.",
        "nothing back": "nothing to take back",
        "changed": "{file}: was changed or moved since; take it back by hand",
        "answered": "that picture has its answer already",
        "fault": "{message}",
    },
    "zh": {
        "lang": "zh-CN",
        "title": "这是什么？",
        "answer": "回答",
        "alike": "相似的图片",
        "marked": "这些图片相似；选中的将得到同样的回答。",
        "all": "全选或全不选",
        "search": "其他类别：输入名称或编号",
        "classes": "类别",
        "none": "都不是",
        "tray": "空托盘",
        "skip": "跳过",
        "undo": "撤销",
        "teach": "立即学习",
        "finish": "完成",
        "counts": "剩余 {left} · 已标注 {labelled} · 已跳过 {skipped}",
        "broken": " · 无法显示 {broken}",
        "is": "{name} 是{label}",
        "skipped": "已跳过 {name}",
        "empty": "没有待回答的图片。新图片会自动出现。",
        "said": "{name} — 站点判断为{label}，{score}",
        "audited": "已分类；这是什么？",
        "picture": "图片 {name}",
        "one alike": "一张相似的图片",
        "teaching": "正在学习，需要几秒 …",
        "finished": "已完成，可以关闭本页。",
        "ended": "sorter review 已结束；已作的回答都已保存。",
        "not loaded": "图片无法加载；请跳过或刷新页面。",
        "nothing back": "没有可以撤销的回答",
        "changed": "{file} 之后被修改或移动；请手动撤销",
        "answered": "这张图片已有回答",
        "fault": "无法完成：{message}",
    },
}


def of(lang: str) -> Mapping[str, str]:
    """The page's words in `lang`, "en" or "zh"."""
    return _WORDS[lang]


class RefusedError(UsageError):
    """An answer that cannot be taken: `key` names the words that say why, in either language."""

    def __init__(self, key: str, **values: str) -> None:
        super().__init__(_WORDS["en"][key].format(**values))
        self.key, self.values = key, values


def told(error: Exception, lang: str) -> str:
    """What the page says of `error`; of a disk or a folder in the words of the error itself."""
    if isinstance(error, RefusedError):
        return _WORDS[lang][error.key].format(**error.values)
    return _WORDS[lang]["fault"].format(message=error)
