"""What the labelling page says, in the two languages of the names.

Braces in them are filled in by the page's script, by `RefusedError` or by the command.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping

from sorter.errors import FolderError, SorterError, UsageError
from sorter.text import Lang

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
        "space": "Space",
        "undo": "Undo",
        "backspace": "Backspace",
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
        "taken": "{file}: is there already, with another content; move it away",
        "no folder": "{folder}: no such folder of pictures",
        "address": "open the whole address that sorter review printed",
        "no page": "no such page",
        "disk": "{file}: {reason}",
        "fault": "{message}",
        "to end": "Ctrl-C, or Finish on the page, ends it",
        "outside": "{host} is reachable from outside, unencrypted: whoever sees the address may "
        "label",
        "total": "{labelled} labelled into {into}, {skipped} skipped, {broken} cannot be shown, "
        "{left} left",
        "site": "this site: {audit}",
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
        "space": "空格",
        "undo": "撤销",
        "backspace": "退格",
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
        "taken": "{file} 已存在且内容不同；请先移走",
        "no folder": "没有图片文件夹 {folder}",
        "address": "请打开 sorter review 给出的完整地址",
        "no page": "没有此页",
        "disk": "无法写入 {file}：{reason}",
        "fault": "无法完成：{message}",
        "to end": "按 Ctrl-C 或点击页面上的“完成”即可结束",
        "outside": "其他机器可以访问 {host}，且未加密：得到地址的人都可以标注",
        "total": "已标注 {labelled} 张到 {into}，已跳过 {skipped}，无法显示 {broken}，剩余 {left}",
        "site": "本站点：{audit}",
    },
}


def of(lang: str) -> Mapping[str, str]:
    """The page's words in `lang`, "en" or "zh"."""
    return _WORDS[lang]


class _SaidError(SorterError):
    """An error whose words are here: `key` names them, in either language."""

    def __init__(self, key: str, **values: str) -> None:
        super().__init__(_WORDS["en"][key].format(**values))
        self.key, self.values = key, values


class RefusedError(_SaidError, UsageError):
    """An answer that cannot be taken."""


class PlaceError(_SaidError, FolderError):
    """A folder or a file that is not as it must be."""


_REASONS = {
    errno.ENOSPC: "磁盘已满",
    errno.EDQUOT: "配额已满",
    errno.EACCES: "没有权限",
    errno.EPERM: "没有权限",
    errno.EROFS: "磁盘只读",
    errno.ENOENT: "文件夹不存在",
    errno.ENOTDIR: "不是文件夹",
    errno.EIO: "磁盘读写错误",
}
"""What a disk answers, where its own words are English."""


def told(error: Exception, lang: str) -> str:
    """What the page says of `error`; in English of what neither a person nor the disk can cause."""
    said = _WORDS[lang]
    if isinstance(error, _SaidError):
        return said[error.key].format(**error.values)
    cause = error.__cause__
    if lang == Lang.ZH and isinstance(cause, OSError):
        reason = _REASONS.get(cause.errno or 0, cause.strerror or str(cause))
        file, _, _ = str(error).partition(": ")
        return said["disk"].format(file=file, reason=reason)
    return said["fault"].format(message=error)
