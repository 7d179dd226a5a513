// matchall: the content of TCA_OPTIONS of a filter that matches every packet (include/uapi/linux/pkt_cls.h).
// TCA_MATCHALL_PCNT is struct tc_matchall_pcnt { u64 rhit; }.

export const TCA_MATCHALL_UNSPEC = 0
export const TCA_MATCHALL_CLASSID = 1
export const TCA_MATCHALL_ACT = 2
export const TCA_MATCHALL_FLAGS = 3
export const TCA_MATCHALL_PCNT = 4
export const TCA_MATCHALL_PAD = 5
export const TCA_MATCHALL_MAX = 5
