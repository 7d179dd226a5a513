// fl_policy of cls_flower.c: how long each attribute must be at least. What else a policy says is with the groups.

import * as Tca from '../wire/tca_flower.ts'

/** In MIN_LENGTH: there is no such attribute. */
export const NO_ATTRIBUTE = 0xff

/** Least length of the payload, by attribute type. */
export const MIN_LENGTH = table()

// biome-ignore format: a table
function table(): Uint8Array {
  const min = new Uint8Array(Tca.TCA_FLOWER_MAX + 1).fill(NO_ATTRIBUTE)
  const lengths = (len: number, ...types: number[]): void => {
    for (const type of types) min[type] = len
  }
  lengths(0, Tca.TCA_FLOWER_UNSPEC, Tca.TCA_FLOWER_INDEV, Tca.TCA_FLOWER_ACT)
  lengths(4, Tca.TCA_FLOWER_CLASSID, Tca.TCA_FLOWER_FLAGS)
  for (let t = Tca.TCA_FLOWER_KEY_ETH_DST; t <= Tca.TCA_FLOWER_KEY_ETH_SRC_MASK; t++) lengths(6, t)
  lengths(2, Tca.TCA_FLOWER_KEY_ETH_TYPE)
  lengths(1, Tca.TCA_FLOWER_KEY_IP_PROTO)
  for (let t = Tca.TCA_FLOWER_KEY_IPV4_SRC; t <= Tca.TCA_FLOWER_KEY_IPV4_DST_MASK; t++) lengths(4, t)
  for (let t = Tca.TCA_FLOWER_KEY_IPV6_SRC; t <= Tca.TCA_FLOWER_KEY_IPV6_DST_MASK; t++) lengths(16, t)
  for (let t = Tca.TCA_FLOWER_KEY_TCP_SRC; t <= Tca.TCA_FLOWER_KEY_UDP_DST; t++) lengths(2, t)
  lengths(2, Tca.TCA_FLOWER_KEY_VLAN_ID, Tca.TCA_FLOWER_KEY_VLAN_ETH_TYPE)
  lengths(1, Tca.TCA_FLOWER_KEY_VLAN_PRIO, Tca.TCA_FLOWER_KEY_CVLAN_PRIO, Tca.TCA_FLOWER_KEY_NUM_OF_VLANS)
  lengths(2, Tca.TCA_FLOWER_KEY_CVLAN_ID, Tca.TCA_FLOWER_KEY_CVLAN_ETH_TYPE)
  lengths(4, Tca.TCA_FLOWER_KEY_ENC_KEY_ID)
  for (let t = Tca.TCA_FLOWER_KEY_ENC_IPV4_SRC; t <= Tca.TCA_FLOWER_KEY_ENC_IPV4_DST_MASK; t++) lengths(4, t)
  for (let t = Tca.TCA_FLOWER_KEY_ENC_IPV6_SRC; t <= Tca.TCA_FLOWER_KEY_ENC_IPV6_DST_MASK; t++) lengths(16, t)
  for (let t = Tca.TCA_FLOWER_KEY_TCP_SRC_MASK; t <= Tca.TCA_FLOWER_KEY_ENC_UDP_DST_PORT_MASK; t++) lengths(2, t)
  lengths(4, Tca.TCA_FLOWER_KEY_FLAGS, Tca.TCA_FLOWER_KEY_FLAGS_MASK)
  for (let t = Tca.TCA_FLOWER_KEY_ICMPV4_CODE; t <= Tca.TCA_FLOWER_KEY_ICMPV6_TYPE_MASK; t++) lengths(1, t)
  for (let t = Tca.TCA_FLOWER_KEY_ARP_SIP; t <= Tca.TCA_FLOWER_KEY_ARP_TIP_MASK; t++) lengths(4, t)
  lengths(1, Tca.TCA_FLOWER_KEY_ARP_OP, Tca.TCA_FLOWER_KEY_ARP_OP_MASK)
  for (let t = Tca.TCA_FLOWER_KEY_ARP_SHA; t <= Tca.TCA_FLOWER_KEY_ARP_THA_MASK; t++) lengths(6, t)
  lengths(2, Tca.TCA_FLOWER_KEY_TCP_FLAGS, Tca.TCA_FLOWER_KEY_TCP_FLAGS_MASK)
  for (let t = Tca.TCA_FLOWER_KEY_IP_TOS; t <= Tca.TCA_FLOWER_KEY_IP_TTL_MASK; t++) lengths(1, t)
  for (let t = Tca.TCA_FLOWER_KEY_ENC_IP_TOS; t <= Tca.TCA_FLOWER_KEY_ENC_IP_TTL_MASK; t++) lengths(1, t)
  for (let t = Tca.TCA_FLOWER_KEY_MPLS_TTL; t <= Tca.TCA_FLOWER_KEY_MPLS_TC; t++) lengths(1, t)
  lengths(4, Tca.TCA_FLOWER_KEY_MPLS_LABEL)
  lengths(0, Tca.TCA_FLOWER_KEY_MPLS_OPTS, Tca.TCA_FLOWER_KEY_ENC_OPTS, Tca.TCA_FLOWER_KEY_ENC_OPTS_MASK)
  lengths(4, Tca.TCA_FLOWER_IN_HW_COUNT)
  for (let t = Tca.TCA_FLOWER_KEY_CT_STATE; t <= Tca.TCA_FLOWER_KEY_CT_ZONE_MASK; t++) lengths(2, t)
  lengths(4, Tca.TCA_FLOWER_KEY_CT_MARK, Tca.TCA_FLOWER_KEY_CT_MARK_MASK)
  lengths(0, Tca.TCA_FLOWER_KEY_CT_LABELS, Tca.TCA_FLOWER_KEY_CT_LABELS_MASK)
  lengths(4, Tca.TCA_FLOWER_KEY_HASH, Tca.TCA_FLOWER_KEY_HASH_MASK, Tca.TCA_FLOWER_KEY_L2TPV3_SID)
  lengths(2, Tca.TCA_FLOWER_KEY_PPPOE_SID, Tca.TCA_FLOWER_KEY_PPP_PROTO)
  lengths(1, Tca.TCA_FLOWER_L2_MISS)
  lengths(0, Tca.TCA_FLOWER_KEY_CFM)
  for (let t = Tca.TCA_FLOWER_KEY_SPI; t <= Tca.TCA_FLOWER_KEY_ENC_FLAGS_MASK; t++) lengths(4, t)
  for (let t = Tca.TCA_FLOWER_KEY_PORT_SRC_MIN; t <= Tca.TCA_FLOWER_KEY_PORT_DST_MAX; t++) lengths(2, t)
  return min
}
