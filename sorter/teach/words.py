"""What teaching came to, in the two languages of the names."""

from __future__ import annotations

from collections.abc import Mapping

_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "taught": "taught: {count} pictures",
        "one taught": "taught: {count} picture",
        "copies": "{count} copies dropped",
        "one copies": "{count} copy dropped",
        "changed": "{count} answered anew",
        "forgotten": "{count} forgotten",
        "one thing": "this site: cannot be judged by pictures of one thing; teach a few more",
        "site": "this site: {change}, each of {count} judged by the others",
        "none": "of no class: {was} → {now} of {count} sorted, judged likewise",
        "old": "old knowledge: {change}, of {count:,} photographs; labels changed: {changed}",
        "old keys": "old knowledge: {changed} of {count:,} labels changed; this model carries no "
        "reference, so that the keys of its memory stood in for photographs",
        "held back": "held back: {step:.0%} of what was learnt is used, for old labels to stay",
        "all known": "already known: every picture was sorted right before; little is to be learnt",
        "known": "already known: {known} of {count}",
        "raised": "surer from now on: {bin}, threshold {before:.3f} → {after:.3f}: {audit}",
        "blurred": "blurred: {name}: taught all the same; take a sharper one",
        "contradicted": "contradicted: {name} ({digest}): the others say {says} ({share:.0%}); "
        "mislabelled or blurred?",
        "advice": "would help most: {name} ({right} of {count} right)",
        "advice taken": "would help most: {name} ({right} of {count} right, taken for {other})",
        "refused": "not taught: of {count} old photographs {label} instead of {label_was} would "
        "keep their label, {bin} instead of {bin_was} their bin; look through the pictures listed "
        "as contradicted, or teach fewer of one kind",
        "label": "label {was:.1%} → {now:.1%}",
        "bin": "bin {was:.1%} → {now:.1%}",
        "sorted": "sorted {was:.1%} → {now:.1%}",
        "wrong": "of these wrong {was} → {now}",
        "and": ", ",
        "written": "written: {path} ({digest})",
    },
    "zh": {
        "taught": "已学习 {count} 张图片",
        "one taught": "已学习 {count} 张图片",
        "copies": "去掉重复 {count} 张",
        "one copies": "去掉重复 {count} 张",
        "changed": "更改回答 {count} 张",
        "forgotten": "遗忘 {count} 张",
        "one thing": "本站点：只有一种物品的图片，无法评估；请再教几种",
        "site": "本站点：{change}；{count} 张图片逐张由其余图片评估",
        "none": "不属于任何类别：{count} 张中被分类的 {was} → {now}，评估方法相同",
        "old": "原有知识：{change}；{count:,} 张照片中 {changed} 张类别改变",
        "old keys": "原有知识：{count:,} 个中 {changed} 个类别改变；"
        "此模型不带参考照片，以其记忆代替",
        "held back": "有所保留：只采用所学的 {step:.0%}，以免原有类别改变",
        "all known": "已经掌握：所有图片此前都已正确分类，没有多少可学",
        "known": "已经掌握：{count} 张中的 {known} 张",
        "raised": "今后更谨慎：{bin}，阈值 {before:.3f} → {after:.3f}：{audit}",
        "blurred": "模糊：{name}：仍已学习；请换一张清晰的",
        "contradicted": "有矛盾：{name}（{digest}）：其余图片认为是{says}（{share:.0%}）；"
        "是标错了还是模糊？",
        "advice": "最值得补充：{name}（{count} 张中对 {right} 张）",
        "advice taken": "最值得补充：{name}（{count} 张中对 {right} 张，被当作{other}）",
        "refused": "未学习：{count} 张原有照片中，保持类别的将由 {label_was} 张变为 {label} 张，"
        "保持垃圾桶的由 {bin_was} 张变为 {bin} 张；请检查有矛盾的图片，或减少同类图片",
        "label": "类别 {was:.1%} → {now:.1%}",
        "bin": "垃圾桶 {was:.1%} → {now:.1%}",
        "sorted": "已分类 {was:.1%} → {now:.1%}",
        "wrong": "其中错误 {was} → {now}",
        "and": "，",
        "written": "已写入：{path}（{digest}）",
    },
}


def of(lang: str) -> Mapping[str, str]:
    """The words of `lang`, "en" or "zh"."""
    return _WORDS[lang]
