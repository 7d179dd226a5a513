// fw: the content of TCA_OPTIONS of a filter that looks at the packet's mark (include/uapi/linux/pkt_cls.h). The mark is
// the filter's handle.

export const TCA_FW_CLASSID = 1
export const TCA_FW_POLICE = 2
export const TCA_FW_INDEV = 3
export const TCA_FW_ACT = 4
export const TCA_FW_MASK = 5
export const TCA_FW_MAX = 5
