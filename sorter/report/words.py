"""What a contact sheet says around its pictures, in the two languages of the names."""

from __future__ import annotations

from sorter.domain import Reason

_WORDS = {
    "en": {
        "lang": "en",
        "outcomes": "Contact sheet",
        "mistakes": "Mistakes",
        "pictures": "{:,} pictures",
        "shown": "{} of {} pictures",
        "left out": "{:,} of {:,} are shown; the reports list them all.",
        "sections": "Sections",
        "filter": "Filter",
        "title": "Label",
        "all": "all",
        "sort": "Order",
        "written": "as written",
        "low": "least sure first",
        "high": "surest first",
        "name": "by name",
        "keys": "<kbd>/</kbd> filter, arrows move, <kbd>Enter</kbd> open, <kbd>Esc</kbd> show all",
        "unsure": "Unsure",
        "errors": "Errors",
        "error": "Unreadable",
        "wrong bin": "Sorted into a wrong bin",
        "unknown sorted": "Of no known class, sorted all the same",
        "left unsure": "Wrong, but left unsure",
        "wrong label": "Right bin, wrong label",
        "unknown": "unknown",
        Reason.LOW_CONFIDENCE: "low confidence",
        Reason.RISK: "may be hazardous",
        Reason.EMPTY: "empty tray",
        Reason.UNKNOWN_OBJECT: "unknown object",
    },
    "zh": {
        "lang": "zh-CN",
        "outcomes": "图片总览",
        "mistakes": "错误一览",
        "pictures": "共 {:,} 张图片",
        "shown": "显示 {} / {} 张图片",
        "left out": "显示 {:,} / {:,} 张；其余见报表。",
        "sections": "分组",
        "filter": "筛选",
        "title": "类别",
        "all": "全部",
        "sort": "排序",
        "written": "默认",
        "low": "置信度从低到高",
        "high": "置信度从高到低",
        "name": "按文件名",
        "keys": "<kbd>/</kbd> 筛选，方向键移动，<kbd>Enter</kbd> 打开，<kbd>Esc</kbd> 显示全部",
        "unsure": "不确定",
        "errors": "错误",
        "error": "无法读取",
        "wrong bin": "分错垃圾桶",
        "unknown sorted": "未知物品却被分类",
        "left unsure": "判断错误，但标为不确定",
        "wrong label": "垃圾桶正确，类别错误",
        "unknown": "未知",
        Reason.LOW_CONFIDENCE: "置信度低",
        Reason.RISK: "可能有害",
        Reason.EMPTY: "空托盘",
        Reason.UNKNOWN_OBJECT: "未知物品",
    },
}


def of(lang: str) -> dict[str, str]:
    """The words of `lang`, "en" or "zh"."""
    return _WORDS[lang]
