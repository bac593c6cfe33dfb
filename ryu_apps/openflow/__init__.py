"""OpenFlow 1.3 in octets and in the words of ovs-fields(7) and ovs-ofctl(8). Pure."""
