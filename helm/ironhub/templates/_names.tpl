{{/* What the names of all objects begin with. */}}
{{- define "ironhub.name" -}}
{{ .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Labels of a part, for its selector: (list $ "gateway"). They never change. */}}
{{- define "ironhub.selector" -}}
app.kubernetes.io/name: ironhub
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Labels of its pods: another version of the chart alone restarts none of them. */}}
{{- define "ironhub.podLabels" -}}
{{ include "ironhub.selector" . }}
{{- with (index . 0).Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* All labels of a part: (list $ "gateway"). */}}
{{- define "ironhub.labels" -}}
{{- $ := index . 0 -}}
{{ include "ironhub.selector" . }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ $.Chart.Name }}-{{ $.Chart.Version }}
{{- with $.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Name, labels: (list $ "gateway" "gateway-admin") is of the part gateway. Without a third: the name is the part's. */}}
{{- define "ironhub.metadata" -}}
{{- $ := index . 0 -}}
name: {{ include "ironhub.name" $ }}-{{ if gt (len .) 2 }}{{ index . 2 }}{{ else }}{{ index . 1 }}{{ end }}
namespace: {{ $.Release.Namespace }}
labels:
  {{- include "ironhub.labels" (list $ (index . 1)) | nindent 2 }}
{{- end }}

{{- define "ironhub.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The names of the gateways' Service inside the cluster, from long to short. */}}
{{- define "ironhub.serviceNames" -}}
{{- $service := printf "%s-gateway" (include "ironhub.name" .) -}}
{{- $namespaced := printf "%s.%s" $service .Release.Namespace -}}
{{- list (printf "%s.svc.%s" $namespaced .Values.hub.clusterDomain) (printf "%s.svc" $namespaced) $namespaced $service | toJson -}}
{{- end }}

{{/* All names of the hub, as a JSON list; the first stands in connection strings. */}}
{{- define "ironhub.hostNames" -}}
{{- concat .Values.hub.hostNames (include "ironhub.serviceNames" . | fromJsonArray) | uniq | toJson -}}
{{- end }}

{{/* A shard as all others reach it: (list $ "hub-shard-0"). The search path completes it in every cluster. */}}
{{- define "ironhub.shardAddress" -}}
{{- $ := index . 0 -}}
{{ index . 1 }}.{{ include "ironhub.name" $ }}-shard.{{ $.Release.Namespace }}.svc:7600
{{- end }}

{{/* The shards that found a hub, as a JSON list. */}}
{{- define "ironhub.founders" -}}
{{- $founders := list -}}
{{- range $number := until (min (int .Values.shard.founders) (int .Values.shard.replicas) | int) -}}
{{- $founders = append $founders (include "ironhub.shardAddress" (list $ (printf "%s-shard-%d" (include "ironhub.name" $) $number))) -}}
{{- end -}}
{{- $founders | toJson -}}
{{- end }}

{{/* The Secret with a certificate: (list $ "server"), "gateway" or "shard". */}}
{{- define "ironhub.certificateSecret" -}}
{{- $ := index . 0 -}}
{{- if eq $.Values.certificates.source "secrets" -}}
{{ required (printf "certificates.secrets.%s must name a Secret" (index . 1)) (index $.Values.certificates.secrets (index . 1)) }}
{{- else -}}
{{ include "ironhub.name" $ }}-{{ index . 1 }}-tls
{{- end -}}
{{- end }}

{{- define "ironhub.ticketSecret" -}}
{{ .Values.certificates.secrets.tickets | default (printf "%s-tickets" (include "ironhub.name" .)) }}
{{- end }}

{{/*
The Secret with the key that the owner of a new hub begins with, and that the operator uses; empty where nobody needs one. The
chart draws none: a tool that renders without a cluster to look at would draw another one each time, which no hub accepts.
*/}}
{{- define "ironhub.ownerSecret" -}}
{{- if .Values.operator.ownerSecret -}}
{{ .Values.operator.ownerSecret }}
{{- else if eq .Values.certificates.source "job" -}}
{{ include "ironhub.name" . }}-owner
{{- else if .Values.operator.enabled -}}
{{ fail (printf "operator.ownerSecret must name a Secret with the owner's key: certificates.source=%s makes none" .Values.certificates.source) }}
{{- end -}}
{{- end }}

{{/* The number of shards: the operator's, once it looks after them. */}}
{{- define "ironhub.shardReplicas" -}}
{{- $there := dict -}}
{{- if .Values.operator.enabled -}}
{{- $there = lookup "apps/v1" "StatefulSet" .Release.Namespace (printf "%s-shard" (include "ironhub.name" .)) | default dict -}}
{{- end -}}
{{ dig "spec" "replicas" .Values.shard.replicas $there }}
{{- end }}

{{- define "ironhub.kafkaServers" -}}
{{- if .Values.kafka.development.enabled -}}
{{ include "ironhub.name" . }}-kafka.{{ .Release.Namespace }}.svc:9092
{{- else -}}
{{ required "kafka.bootstrapServers must say where events are kept, or kafka.development.enabled be true" .Values.kafka.bootstrapServers }}
{{- end -}}
{{- end }}
